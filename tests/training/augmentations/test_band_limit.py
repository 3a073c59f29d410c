"""The band limit: sines below the cutoff pass, sines above it do not."""

import numpy as np
import pytest
import torch

from asc.training.augmentations.band_limit import band_limited

RATE_HZ = 16_000


def sine(hz: float) -> torch.Tensor:
    """A sine of a second that starts and ends softly, (1, samples) float64."""
    time_s = torch.arange(RATE_HZ, dtype=torch.float64) / RATE_HZ
    return (torch.sin(2 * torch.pi * hz * time_s) * torch.hann_window(RATE_HZ, dtype=torch.float64))[None]


def limited(waveform: torch.Tensor, cutoff: float, uniform: float = 0.0) -> torch.Tensor:
    return band_limited(
        waveform,
        uniform=np.array([uniform]),
        cutoff=np.array([cutoff]),
        probability=0.5,
        lowest_hz=2_000,
        sample_rate_hz=RATE_HZ,
    )


@pytest.mark.parametrize(("cutoff", "hz"), [(0.0, 2_000), (0.5, 4_000)])
def test_what_lies_below_the_cutoff_passes_and_what_lies_above_does_not(cutoff: float, hz: float) -> None:
    below, above = sine(0.9 * hz), sine(1.4 * hz)
    torch.testing.assert_close(limited(below, cutoff), below, rtol=0, atol=1e-4)
    assert limited(above, cutoff).abs().max() < 1e-4


def test_the_highest_cutoff_is_half_the_rate() -> None:
    noise = torch.randn(1, 1_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(limited(noise, 1.0), noise)


def test_a_row_that_is_not_chosen_stays() -> None:
    assert torch.equal(limited(sine(7_000), 0.0, uniform=0.5), sine(7_000))
