"""The level of a clip: 16-bit samples with the clip's peak at full scale, as stored and as given to networks.

Scenes are quiet: without a gain of its own, a clip at -50 dBFS would keep only 8 of the 16 bits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST = 32_767
_CHUNK_SAMPLES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A clip as it is stored: `integers` (samples,) times `gain` give the samples."""

    integers: NDArray[np.int16]
    gain: float

    @property
    def samples(self) -> NDArray[np.float32]:
        """The restored samples, (samples,)."""
        return self.integers * np.float32(self.gain)


def quantise(waveform: NDArray[np.float32], *, peak: float | None = None) -> Packed:
    """Round (samples,) to 16 bits with the peak at full scale: the error is at most half a gain.

    Give `peak` if the waveform is a part of a longer sound: it is the peak of that sound. A silent clip has gain 1.
    """
    peak = float(np.abs(waveform).max()) if peak is None else peak
    gain = peak / LARGEST if peak > 0 else 1.0
    integers = np.empty(len(waveform), "<i2")
    for start in range(0, len(waveform), _CHUNK_SAMPLES):  # a long clip as a whole would take gigabytes in float64
        part = waveform[start : start + _CHUNK_SAMPLES].astype(np.float64)
        integers[start : start + _CHUNK_SAMPLES] = np.rint(part / gain).clip(-LARGEST, LARGEST)
    return Packed(integers=integers, gain=gain)
