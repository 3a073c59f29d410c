"""Freq-MixStyle: the mean and the deviation of each band, in which a device shows, are mixed between clips.

Morocutti et al. 2023, https://arxiv.org/abs/2305.07499; Zhou et al. 2021, MixStyle, https://arxiv.org/abs/2104.02008.
The code of CP-JKU decides for a whole batch whether it is changed. Here each clip decides for itself, so that its
augmentation does not depend on its batch.
"""

import torch
from torch import Tensor

from asc.models.workers import ALONE, Workers

_EPS = 1e-6


def style(log_mel: Tensor) -> Tensor:
    """Mean and standard deviation of each band over time: (rows, 1, bands, frames) to (rows, 2, bands)."""
    mean, variance = log_mel.mean(dim=(1, 3)), log_mel.var(dim=(1, 3), unbiased=False)
    return torch.stack([mean, (variance + _EPS).sqrt()], dim=1)


def with_style(log_mel: Tensor, own: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """Give maps (rows, 1, bands, frames) the style weight * own + (1 - weight) * other.

    `own` is their style, `other` that of other maps, both (rows, 2, bands); `weight` is (rows,).
    """
    mixed = torch.lerp(other, own, weight[:, None, None])
    mean, deviation = own[:, None, 0, :, None], own[:, None, 1, :, None]
    return (log_mel - mean) / deviation * mixed[:, None, 1, :, None] + mixed[:, None, 0, :, None]


def styles_of_batch(own: Tensor, rows: int, workers: Workers = ALONE) -> Tensor:
    """The styles of all rows of a batch, (rows, 2, bands), on each of the workers that share it.

    `own` are those of this worker's rows. A partner may be another worker's row; so only these small statistics are
    exchanged, and several workers compute what one would.
    """
    if workers.count == 1:
        return own
    styles = own.new_zeros(rows, *own.shape[1:])
    styles[workers.slice_of(rows)] = own
    return workers.sum(styles)
