"""Warnings from the level of a recording: silence, channels that cancel, or a suspiciously low peak."""

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
    """A warning about a recording, or None. `peak` is that of the mono mix, `loudest` that of any channel; both linear.

    A recording is silent if it does not exceed one 16-bit step. Its channels cancel if the mix loses 40 dB.
    """
    if loudest <= SILENT_PEAK:
        return "it is silent, so its label means nothing"
    if peak <= CANCELLED_SHARE * loudest:
        return "its channels cancel each other (opposite phase), so little or nothing of it was heard"
    return None


def is_quiet(peak: float) -> bool:
    """Whether a clip's peak (linear) is below -48 dBFS, the highest that 24 bits in the low end of 32 can reach."""
    return 20 * math.log10(max(peak, 1e-30)) < QUIET_DBFS


class Levels:
    """Collects the clips of a set whose level is suspicious."""

    def __init__(self) -> None:
        """Start without clips."""
        self._names: dict[str, list[str]] = defaultdict(list)

    def add(self, name: str, peak: float, loudest: float) -> None:
        """Add a clip by name, with the `peak` of its mono mix and that of its `loudest` channel (linear)."""
        if note := level_note(peak, loudest):
            self._names[_SILENT if "silent" in note else _CANCELLED].append(name)
        elif is_quiet(peak):
            self._names[_QUIET].append(name)

    def lines(self) -> tuple[str, ...]:
        """One line for each kind of warning: the number of clips, and some names."""
        found = ((kind, self._names[kind]) for kind in (_SILENT, _CANCELLED, _QUIET) if self._names[kind])
        return tuple(f"{len(names):,} clip{'s' * (len(names) != 1)} {kind}: {some(names)}" for kind, names in found)
