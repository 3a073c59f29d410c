"""Sound in memory: its length, its mix to mono, and its rate."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from asc.audio.torchaudio_compat import resample
from asc.errors import AudioProblem

RATES_HZ = (100, 10_000_000)
MAX_RATIO_TERM = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The length of a sound file: samples per channel, and their rate."""

    samples: int
    sample_rate_hz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of a file: `sound`, (samples,), is the mean of its channels; `peak` is the highest of any channel."""

    sound: NDArray[np.float32]
    peak: float


def mono(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean over channels of (samples, channels), as (samples,).

    Raises:
        AudioProblem: some samples are NaN or infinite.
    """
    if not np.isfinite(sound).all():
        raise AudioProblem("not finite: it has NaN or infinite samples")
    mean: NDArray[np.float32] = sound.mean(axis=1, dtype=np.float64).astype(np.float32)
    return mean


def resampled(sound: NDArray[np.float32], rate_hz: int, wanted_hz: int) -> NDArray[np.float32]:
    """Resample (samples,) at `rate_hz` to (samples,) at `wanted_hz`."""
    ratio = resampling_ratio(rate_hz, wanted_hz)
    if ratio == 1:
        return sound
    with torch.inference_mode():
        wave: NDArray[np.float32] = resample(torch.from_numpy(sound), ratio.denominator, ratio.numerator).numpy()
    return wave


def resampling_ratio(rate_hz: int, wanted_hz: int) -> Fraction:
    """`wanted_hz` / `rate_hz`, exact for all usual rates.

    A ratio of large numbers (22,049 Hz to 44,100 Hz) is approximated to within 0.05 %, less than a hundredth of a
    semitone, because its exact filter bank would take gigabytes.
    """
    return Fraction(wanted_hz, rate_hz).limit_denominator(MAX_RATIO_TERM)
