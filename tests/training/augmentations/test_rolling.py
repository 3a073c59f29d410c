"""Rolling: a circular shift, as numpy does it, within the limit."""

import numpy as np
import torch

from asc.training.augmentations.rolling import rolled


def test_rows_are_shifted_by_up_to_the_limit_either_way() -> None:
    waveform = torch.arange(30.0).reshape(3, 10)
    found = rolled(waveform, uniform=np.array([0.0, 0.5, 0.999]), most_samples=4)
    expected = [np.roll(row, shift) for row, shift in zip(waveform.numpy(), (-4, 0, 4), strict=True)]
    assert np.array_equal(found.numpy(), np.stack(expected))
