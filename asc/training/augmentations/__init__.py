"""Augmentations for robustness, a module each; all are off in the report's recipes."""
