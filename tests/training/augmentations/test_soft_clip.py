"""The soft clipper: odd, rising, and true to the peak of a row."""

import numpy as np
import torch

from asc.training.augmentations.soft_clip import soft_clipped

RAMP = torch.linspace(-0.8, 0.8, 401)[None]
ALWAYS, NEVER = np.zeros(1), np.full(1, 0.5)


def clipped(waveform: torch.Tensor, drive: float, most_db: float = 20) -> torch.Tensor:
    return soft_clipped(waveform, uniform=ALWAYS, drive=np.array([drive]), probability=0.5, most_db=most_db)


def test_a_ramp_stays_odd_rising_and_as_high() -> None:
    for drive in (0.0, 0.5, 1.0):
        found = clipped(RAMP, drive)
        torch.testing.assert_close(found, -found.flip(1))
        assert (found.diff() >= 0).all()
        torch.testing.assert_close(found.abs().max(), torch.tensor(0.8))


def test_quiet_parts_are_amplified_by_the_drive() -> None:
    waveform = torch.tensor([[1e-4, 1.0]])
    torch.testing.assert_close(float(clipped(waveform, 1.0)[0, 0] / 1e-4), 10.0, rtol=1e-3, atol=0)


def test_the_harmonics_of_a_sine_are_odd_and_grow_with_the_drive() -> None:
    sine = torch.sin(2 * torch.pi * 10 * torch.arange(1000) / 1000)[None]
    third = []
    for drive in (0.0, 0.5, 1.0):
        power = torch.fft.rfft(clipped(sine, drive)).abs()[0]
        assert power[20] < 1e-3 * power[10]
        third.append(float(power[30] / power[10]))
    assert third == sorted(third) and third[-1] > 0.2


def test_rows_that_are_not_chosen_and_silence_stay() -> None:
    kept = soft_clipped(RAMP, uniform=NEVER, drive=np.ones(1), probability=0.5, most_db=20)
    assert torch.equal(kept, RAMP)
    assert torch.equal(clipped(torch.zeros(1, 5), 1.0), torch.zeros(1, 5))
