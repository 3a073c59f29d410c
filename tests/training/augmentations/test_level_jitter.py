"""Level jitter: a gain in decibels for each row."""

import numpy as np
import torch

from asc.training.augmentations.level_jitter import jittered


def test_gains_reach_the_limit_either_way() -> None:
    waveform = torch.tensor([[0.5, -0.25]]).repeat(3, 1)
    found = jittered(waveform, uniform=np.array([0.0, 0.5, 1.0]), most_db=20)
    torch.testing.assert_close(found, waveform * torch.tensor([[0.1], [1.0], [10.0]]))
    assert found.dtype == torch.float32
