"""Rolling in time: a crop starts elsewhere, and what leaves it at one end comes back at the other.

As in the DCASE 2024 baseline, https://github.com/CPJKU/dcase2024_task1_baseline (option `--roll_sec`).
"""

import numpy as np
import torch
from torch import Tensor

from asc.training.augmentations.draws import Uniform


def rolled(waveform: Tensor, *, uniform: Uniform, most_samples: int) -> Tensor:
    """Roll each row of (rows, samples) by up to `most_samples` either way; 0.5 in `uniform` (rows,) leaves a row."""
    shifts = np.rint((2 * uniform - 1) * most_samples).astype(int).tolist()
    return torch.stack([row.roll(shift) for row, shift in zip(waveform, shifts, strict=True)])
