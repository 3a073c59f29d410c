"""An examination of random logits for classes with awkward names."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from asc.console.evaluation_text import About
from asc.evaluation.bootstrap import intervals
from asc.evaluation.evaluate import Predictions
from asc.evaluation.metrics import confusion, evaluation, reliability
from asc.results import Examination

LABELS = ("$a^", "metro_station", "street_pedestrian", "x|y")


def _drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (80 clips, classes) float64 and class numbers (80,)."""
    rng = np.random.default_rng(0)
    targets = rng.integers(len(LABELS), size=80)
    logits = rng.normal(size=(80, len(LABELS)))
    logits[np.arange(80), targets] += 2
    return torch.tensor(logits), torch.tensor(targets)


@pytest.fixture(scope="session")
def examination() -> Examination:
    logits, targets = _drawn()
    devices = ["ab"[number % 2] for number in range(80)]
    figures = evaluation(logits, targets, labels=LABELS, devices=devices, split="test", trained_devices={"a"})
    groups = [f"{target}-{number % 5}" for number, target in enumerate(targets.tolist())]
    return Examination(
        evaluation=replace(figures, intervals=intervals(logits, targets, groups)),
        labels=LABELS,
        confusion=confusion(logits, targets),
        reliability=reliability(logits, targets),
    )


@pytest.fixture(scope="session")
def predictions() -> Predictions:
    probabilities = torch.softmax(_drawn()[0], dim=1).numpy()
    names = tuple(f"audio/{number}.wav" for number in range(80))
    return Predictions(filenames=names, labels=LABELS, probabilities=probabilities)


@pytest.fixture
def about() -> About:
    return About(
        model="runs/x/best/model.safetensors",
        data="csv:meta.csv",
        device_irs=None,
        split="test",
        optimistic=False,
        calibration=None,
        notes=(),
        published=None,
    )
