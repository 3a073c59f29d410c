"""The level of a clip: 16-bit samples with its peak at full scale, as a store holds it and a network is given it.

Scenes are quiet: at -50 dBFS, 16 bits without a gain of the clip's own would keep 8 bits of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST = 32_767
_CHUNK_SAMPLES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A clip as it is stored: the samples are `integers * gain`."""

    integers: NDArray[np.int16]
    gain: float

    @property
    def samples(self) -> NDArray[np.float32]:
        """What a store gives back, (samples,)."""
        return self.integers * np.float32(self.gain)


def quantise(waveform: NDArray[np.float32], *, peak: float | None = None) -> Packed:
    """16 bit with the clip's peak at full scale: the error is at most half a gain. A silent clip has gain 1.

    `peak` is given where the waveform is a part of more, whose peak it is.
    """
    peak = float(np.abs(waveform).max()) if peak is None else peak
    gain = peak / LARGEST if peak > 0 else 1.0
    integers = np.empty(len(waveform), "<i2")
    for start in range(0, len(waveform), _CHUNK_SAMPLES):  # float64 of a long clip as a whole would take gigabytes
        part = waveform[start : start + _CHUNK_SAMPLES].astype(np.float64)
        integers[start : start + _CHUNK_SAMPLES] = np.rint(part / gain).clip(-LARGEST, LARGEST)
    return Packed(integers=integers, gain=gain)
