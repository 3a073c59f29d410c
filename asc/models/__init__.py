"""Networks as torch modules: in training (`network.py`, built by `build.py`) and as stored (`stored.py`)."""
