"""Data sets: manifests with grouped splits, the packed waveform store, and the built-in synthetic set."""
