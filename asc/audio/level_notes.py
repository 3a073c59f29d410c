"""What the level of a recording says against it: silence, channels that cancel, or a peak that is suspiciously low."""

import math
from collections import defaultdict

from asc.errors import some

SILENT_PEAK = 2.0**-15
CANCELLED_SHARE = 0.01
QUIET_DBFS = -48.0
_SILENT = "silent"
_CANCELLED = "with channels that cancel each other (opposite phase)"
_QUIET = "with a peak below -48 dBFS, as if 24 bits lay at the wrong end of 32"


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


class Levels:
    """Collects the clips of a set whose level is suspicious."""

    def __init__(self) -> None:
        """None yet."""
        self._names: dict[str, list[str]] = defaultdict(list)

    def add(self, name: str, peak: float, loudest: float) -> None:
        """A clip, the peak of the mean of its channels, and that of the channels."""
        if note := level_note(peak, loudest):
            self._names[_SILENT if "silent" in note else _CANCELLED].append(name)
        elif is_quiet(peak):
            self._names[_QUIET].append(name)

    def lines(self) -> tuple[str, ...]:
        """A line for each kind: how many there are, and some names."""
        found = ((kind, self._names[kind]) for kind in (_SILENT, _CANCELLED, _QUIET) if self._names[kind])
        return tuple(f"{len(names):,} clip{'s' * (len(names) != 1)} {kind}: {some(names)}" for kind, names in found)
