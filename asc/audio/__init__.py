"""Sound files and waveforms, and the log-mel computed from them."""
