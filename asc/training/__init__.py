"""The only training loop, with augmentation, pruning, compression and calibration."""
