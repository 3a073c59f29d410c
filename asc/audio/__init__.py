"""From sound files and waveforms to log-mel."""
