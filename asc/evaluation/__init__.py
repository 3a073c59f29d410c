"""Evaluation of a network on clips: figures, intervals and caveats."""
