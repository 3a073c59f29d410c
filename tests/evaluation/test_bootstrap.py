"""Intervals over locations against the textbook standard error, and their coverage on simulated locations."""

import numpy as np
import pytest
import torch
from torch import Tensor

from asc.evaluation.bootstrap import intervals
from asc.evaluation.metrics import evaluation

CLASSES = 5


def made(seed: int, *, locations: int, clips: int) -> tuple[Tensor, Tensor, list[str], float]:
    """Simulate clips whose log loss varies by location and by clip.

    Returns logits (n, CLASSES) float64, targets (n,) int64, n group names and the true macro log loss in nats, where
    n = CLASSES * locations * clips.
    """
    rng = np.random.default_rng(seed)
    level = np.linspace(0.6, 1.4, CLASSES)
    place = rng.normal(level[:, None, None], 0.15, size=(CLASSES, locations, 1))
    losses = np.maximum(rng.normal(place, 0.1, size=(CLASSES, locations, clips)), 0.01).ravel()
    targets = torch.arange(CLASSES).repeat_interleave(locations * clips)
    groups = [f"{number // clips}" for number in range(len(targets))]
    probabilities = torch.tensor((1 - np.exp(-losses)) / (CLASSES - 1))[:, None].repeat(1, CLASSES)
    probabilities[torch.arange(len(targets)), targets] = torch.tensor(np.exp(-losses))
    return probabilities.log(), targets, groups, float(level.mean())


@pytest.mark.parametrize("locations", [3, 8])
def test_the_width_matches_the_standard_error_over_locations(locations: int) -> None:
    logits, targets, groups, _ = made(0, locations=locations, clips=6)
    found = intervals(logits, targets, groups, resamples=4000)
    assert found is not None and (found.groups, found.lone_classes) == (CLASSES * locations, 0)
    losses = -logits.gather(1, targets[:, None]).reshape(CLASSES, locations, -1).mean(dim=2).numpy()
    error = np.sqrt((losses.var(axis=1, ddof=1) / locations).sum()) / CLASSES
    assert found.log_loss.high - found.log_loss.low == pytest.approx(2 * 1.96 * error, rel=0.06)
    assert (found.log_loss.high + found.log_loss.low) / 2 == pytest.approx(losses.mean(), abs=0.15 * error)


def test_coverage_is_about_95_percent() -> None:
    held = 0
    for seed in range(200):
        logits, targets, groups, truth = made(seed, locations=4, clips=5)
        found = intervals(logits, targets, groups, resamples=300)
        assert found is not None
        held += found.log_loss.low <= truth <= found.log_loss.high
    assert 0.90 <= held / 200 <= 0.98


def test_clips_of_one_location_are_not_treated_as_independent() -> None:
    logits, targets, groups, _ = made(1, locations=4, clips=20)
    by_place = intervals(logits, targets, groups)
    by_clip = intervals(logits, targets, [str(number) for number in range(len(targets))])
    assert by_place is not None and by_clip is not None
    width = by_place.log_loss.high - by_place.log_loss.low
    assert width > 2 * (by_clip.log_loss.high - by_clip.log_loss.low)


def test_the_same_seed_gives_the_same_intervals_around_the_figures() -> None:
    rng = np.random.default_rng(3)
    targets = torch.tensor(rng.integers(CLASSES, size=300))
    logits = torch.tensor(rng.normal(size=(300, CLASSES)))
    logits[torch.arange(300), targets] += 1
    groups = [f"{target}-{number % 7}" for number, target in enumerate(targets.tolist())]
    found = intervals(logits, targets, groups)
    assert found is not None and found == intervals(logits, targets, groups)
    assert found != intervals(logits, targets, groups, seed=1)
    point = evaluation(logits, targets, labels="abcde", devices=["a"] * 300, split="test")
    assert found.log_loss.low < point.log_loss < found.log_loss.high
    assert found.accuracy.low < point.accuracy < found.accuracy.high
    assert point.calibration_error is not None
    assert found.calibration_error.low < point.calibration_error < found.calibration_error.high


def test_single_location_classes_are_counted_and_alone_give_no_intervals() -> None:
    logits, targets, groups, _ = made(0, locations=3, clips=4)
    alone = ["only" if target == 0 else group for target, group in zip(targets.tolist(), groups, strict=True)]
    found = intervals(logits, targets, alone)
    assert found is not None and found.lone_classes == 1
    assert intervals(logits, targets, [str(target) for target in targets.tolist()]) is None


def test_a_class_that_shares_its_location_may_be_missing_from_a_resample() -> None:
    """The second class has only one of the first's three locations. Without it the mean is over the first class."""
    probabilities = torch.tensor([[0.8, 0.2]] * 6 + [[0.5, 0.5]])
    targets = torch.tensor([0] * 6 + [1])
    found = intervals(probabilities.log(), targets, ["x", "x", "y", "y", "z", "z", "x"])
    assert found is not None
    assert found.log_loss.low == pytest.approx(-np.log(0.8), abs=1e-6)
    assert found.log_loss.high == pytest.approx((-np.log(0.8) - np.log(0.5)) / 2, abs=1e-6)


def test_a_confident_and_always_correct_network_has_no_spread() -> None:
    logits = torch.eye(3).repeat_interleave(4, dim=0) * 2000
    targets = torch.arange(3).repeat_interleave(4)
    found = intervals(logits, targets, [str(number // 2) for number in range(12)])
    assert found is not None
    assert (found.accuracy.low, found.accuracy.high, found.calibration_error.high) == (1.0, 1.0, 0.0)
