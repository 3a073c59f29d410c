"""The changes to waveforms together: those that are switched on, in the order of a device."""

import numpy as np
import pytest
import torch

from asc.config.augment import Augment
from asc.training.augmentations.draws import drawn
from asc.training.augmentations.waveforms import WaveformChanges

RATE_HZ, SAMPLES = 16_000, 4_000
OF_A_DEVICE = np.ones(6, bool)


def changed(waveform: torch.Tensor, augment: Augment) -> torch.Tensor:
    changes = WaveformChanges(augment, sample_rate_hz=RATE_HZ, samples=SAMPLES)
    return changes.apply(waveform, drawn(augment, seed=0, epoch=0, count=len(waveform)), OF_A_DEVICE)


@pytest.fixture
def waveform() -> torch.Tensor:
    return 0.1 * torch.randn(6, SAMPLES, generator=torch.Generator().manual_seed(0))


def test_by_default_nothing_changes(waveform: torch.Tensor) -> None:
    assert changed(waveform, Augment()) is waveform


@pytest.mark.parametrize(
    "switched", [{"soft_clip_p": 1.0}, {"band_limit_p": 1.0}, {"level_jitter_db": 6.0}, {"roll_s": 0.05}]
)
def test_each_one_changes_all_rows(waveform: torch.Tensor, switched: dict[str, float]) -> None:
    found = changed(waveform, Augment(**switched))
    assert found.shape == waveform.shape and torch.isfinite(found).all()
    assert (found != waveform).any(dim=1).all()


def test_the_level_changes_after_the_clipper(waveform: torch.Tensor) -> None:
    """The clipper keeps the peak of what it is given, so that the other order would give the same peak."""
    both = Augment(soft_clip_p=1.0, level_jitter_db=20.0)
    clipped, louder = changed(waveform, Augment(soft_clip_p=1.0)), changed(waveform, both)
    gain = louder.abs().amax(dim=1) / clipped.abs().amax(dim=1)
    torch.testing.assert_close(louder, clipped * gain[:, None])
