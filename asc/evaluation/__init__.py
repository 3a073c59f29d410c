"""Figures of a network on clips, with intervals and caveats."""
