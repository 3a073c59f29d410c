"""A soft clipper: loud parts are compressed, as by a small microphone's amplifier or a phone's limiter.

A hyperbolic tangent is the textbook shape; Zölzer (ed.), DAFX: Digital Audio Effects, chapter 4.
"""

import torch
from torch import Tensor

from asc.training.augmentations.draws import Uniform, chosen


def soft_clipped(waveform: Tensor, *, uniform: Uniform, drive: Uniform, probability: float, most_db: float) -> Tensor:
    """Clip rows of (rows, samples) softly: y = peak * tanh(g x / peak) / tanh(g), which keeps the row's peak.

    The drive g is 10^(drive * most_db / 20), so that small values are amplified by up to about g. A row is changed if
    its value in `uniform` is below `probability`; silence stays silence. `uniform` and `drive` are (rows,).
    """
    rows = torch.from_numpy(chosen(uniform, probability)).to(waveform.device)
    picked = waveform[rows]
    gain = torch.from_numpy(10 ** (drive * most_db / 20)).to(waveform)[rows][:, None]
    peak = picked.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(waveform.dtype).tiny)
    return waveform.index_copy(0, rows, peak * torch.tanh(gain * picked / peak) / torch.tanh(gain))
