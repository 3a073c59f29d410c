"""What the level of a recording says against it: silence, channels that cancel, or a peak that is suspiciously low."""

import math

SILENT_PEAK = 2.0**-15
CANCELLED_SHARE = 0.01
QUIET_DBFS = -48.0


def level_note(peak: float, loudest: float) -> str | None:
    """What is to be said of a recording whose mean of channels has one peak and its channels another; None for nothing.

    Silent is what does not exceed one step of 16 bits. Channels cancel where 40 dB are lost by their mean.
    """
    if loudest <= SILENT_PEAK:
        return "it is silent, so its label means nothing"
    if peak <= CANCELLED_SHARE * loudest:
        return "its channels cancel each other (opposite phase), so little or nothing of it was heard"
    return None


def is_quiet(peak: float) -> bool:
    """Whether a clip's peak lies below -48 dBFS, as 24 bits at the lower end of 32 do, whose highest peak it is."""
    return 20 * math.log10(max(peak, 1e-30)) < QUIET_DBFS
