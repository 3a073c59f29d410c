"""Quantisation: fake-quantised layers for training, the exact integer form for evaluation."""
