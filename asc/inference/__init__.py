"""Predictions for waveforms, files and streams."""
