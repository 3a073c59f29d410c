"""The one training loop, and what it does to networks: augment, prune, compress, calibrate."""
