"""A codec-like band limit: nothing above a frequency, as in telephony and in lossy audio at a low bit rate.

Wideband speech codecs end at 7 or 8 kHz, narrowband ones at 3.4 kHz (ITU-T G.722 and G.711).
"""

import math

import numpy as np
import torch
from torch import Tensor

from asc.training.augmentations.draws import Uniform, chosen

_TRANSITION = 2 ** (1 / 3)
"""The gain falls from 1 at the cutoff to 0 a third of an octave above it."""


def band_limited(
    waveform: Tensor, *, uniform: Uniform, cutoff: Uniform, probability: float, lowest_hz: float, sample_rate_hz: int
) -> Tensor:
    """Cut off rows of (rows, samples) above a frequency, which is log-uniform from `lowest_hz` to half the rate.

    The filter has zero phase. A row is changed if its value in `uniform` is below `probability`. `uniform` and `cutoff`
    are (rows,).
    """
    rows = chosen(uniform, probability)
    if len(rows) == 0:
        return waveform
    half = sample_rate_hz / 2
    cutoff_hz = lowest_hz * max(1.0, half / lowest_hz) ** cutoff[rows]
    samples = waveform.shape[1]
    points = 2 * samples  # zeros after the crop: without them its end would wrap around to its start
    octaves = np.log2(np.maximum(np.fft.rfftfreq(points, 1 / sample_rate_hz), 1.0) / cutoff_hz[:, None])
    gain = 0.5 + 0.5 * np.cos(math.pi * np.clip(octaves / math.log2(_TRANSITION), 0, 1))
    index = torch.from_numpy(rows).to(waveform.device)
    spectrum = torch.fft.rfft(waveform[index], points) * torch.from_numpy(gain).to(waveform)
    return waveform.index_copy(0, index, torch.fft.irfft(spectrum, points)[:, :samples])
