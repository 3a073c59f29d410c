"""Level jitter: each crop is louder or softer, as microphones of other sensitivity would record it."""

import torch
from torch import Tensor

from asc.training.augmentations.draws import Uniform


def jittered(waveform: Tensor, *, uniform: Uniform, most_db: float) -> Tensor:
    """Scale each row of (rows, samples) by up to `most_db` either way; 0.5 in `uniform` (rows,) leaves a row."""
    gain = torch.from_numpy(10 ** ((2 * uniform - 1) * most_db / 20))
    return waveform * gain.to(waveform)[:, None]
