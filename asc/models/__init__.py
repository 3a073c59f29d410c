"""Network families: one file a family, `build.py` maps a config to a network."""
