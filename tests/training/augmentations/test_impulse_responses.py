"""Impulse responses in training: equal to scipy's convolution, for clips of the reference device only."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import oaconvolve

from asc.data.impulse_response import Response, read_response
from asc.training.augmentations.impulse_responses import Microphones

RATE_HZ, SAMPLES = 16_000, 4_000


@pytest.fixture
def responses(tmp_path: Path) -> list[Response]:
    """Three responses: a short one, one that is longer than a crop, and one whose peak comes late."""
    rng = np.random.default_rng(0)
    found = []
    for number, (taps, peak) in enumerate([(50, 0), (10_000, 3), (6_000, 5_000)]):
        impulse = 0.05 * rng.standard_normal(taps) * np.exp(-np.abs(np.arange(taps) - peak) / 200)
        impulse[peak] = 0.9
        soundfile.write(tmp_path / f"{number}.wav", impulse, RATE_HZ, subtype="DOUBLE")
        found.append(read_response(tmp_path / f"{number}.wav", device="a"))
    return found


def test_it_convolves_as_scipy_does_without_a_delay(responses: list[Response]) -> None:
    waveform = torch.randn(3, SAMPLES, generator=torch.Generator().manual_seed(1))
    heard = Microphones(responses, sample_rate_hz=RATE_HZ, samples=SAMPLES).heard(
        waveform, reference=np.ones(3, bool), uniform=np.zeros(3), which=np.array([0.1, 0.5, 0.9]), probability=0.5
    )
    for row, response, found in zip(waveform.numpy(), responses, heard, strict=True):
        impulse, peak = response.impulse(RATE_HZ)
        expected = oaconvolve(row.astype(np.float64), impulse)[peak : peak + SAMPLES]
        assert np.abs(found.numpy() - expected).max() < 1e-4 * np.abs(expected).max()


def test_only_chosen_clips_of_the_reference_device_change(responses: list[Response]) -> None:
    waveform = torch.randn(4, SAMPLES, generator=torch.Generator().manual_seed(1))
    heard = Microphones(responses, sample_rate_hz=RATE_HZ, samples=SAMPLES).heard(
        waveform,
        reference=np.array([True, True, False, False]),
        uniform=np.array([0.1, 0.7, 0.1, 0.7]),
        which=np.zeros(4),
        probability=0.5,
    )
    assert [bool((one != other).any()) for one, other in zip(waveform, heard, strict=True)] == [
        True,
        False,
        False,
        False,
    ]
