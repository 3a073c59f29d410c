"""Frequency and time masking: a stretch of bands or of frames is replaced by the map's mean.

Park et al. 2019, SpecAugment, https://arxiv.org/abs/1904.08779. There the maps have zero mean, and masks are zero.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asc.training.augmentations.draws import Uniform


def masked(log_mel: Tensor, *, width: Uniform, first: Uniform, most: int, dim: int) -> Tensor:
    """Mask a stretch of bands (`dim` 2) or frames (`dim` 3) of each map (rows, 1, bands, frames).

    The stretch is from 0 to `most` long, at most the whole map, and lies anywhere. `width` and `first` are (rows,).
    """
    size = log_mel.shape[dim]
    start, stop = stretch(width, first, most=most, size=size)
    place = torch.arange(size, device=log_mel.device)
    hidden = (place >= _column(start, log_mel)) & (place < _column(stop, log_mel))
    hidden = hidden[:, None, :, None] if dim == 2 else hidden[:, None, None, :]
    return torch.where(hidden, log_mel.mean(dim=(1, 2, 3), keepdim=True), log_mel)


def stretch(width: Uniform, first: Uniform, *, most: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and end of each row's mask among `size` places: lengths from 0 to `most` are equally likely."""
    lengths = (width * (min(most, size) + 1)).astype(np.int64)
    starts = (first * (size - lengths + 1)).astype(np.int64)
    return starts, starts + lengths


def _column(values: NDArray[np.int64], like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like.device)[:, None]
