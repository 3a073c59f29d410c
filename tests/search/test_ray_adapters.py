"""What Tune is told of its trials: which one gets a worker that is free, how often one may fail. No Ray is running."""

import dataclasses
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.tune.experiment import Trial

from asc.results import EpochMetrics
from asc.search.conductor import Conductor
from asc.search.ray_adapters import RETRIES, ConductedScheduler
from asc.search.trial import Message


def test_a_free_worker_goes_to_the_trial_that_waits_longest_once_no_new_one_comes_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = ConductedScheduler(cast(Conductor, None))
    first, second, third = (Trial("x", stub=True) for _ in range(3))
    for trial in (first, second, third):
        scheduler.on_trial_add(None, trial)
    assert scheduler.choose_trial_to_run(None) is None, "a worker is being started for each"
    monkeypatch.setattr("asc.search.ray_adapters._PATIENCE_S", -1.0)
    assert scheduler.choose_trial_to_run(None) is first
    first.set_status(Trial.RUNNING)
    assert scheduler.choose_trial_to_run(None) is second
    second.set_status(Trial.TERMINATED)
    first.set_status(Trial.PENDING)
    scheduler.on_trial_add(None, first)
    assert scheduler.choose_trial_to_run(None) is third, "one whose worker died waits from then on"
    third.set_status(Trial.RUNNING)
    first.set_status(Trial.RUNNING)
    assert scheduler.choose_trial_to_run(None) is None


class _Journalled:
    """A conductor that knows which epochs it heard."""

    def __init__(self) -> None:
        self.heard: set[int] = set()

    def knows(self, worker: str, epoch: int) -> bool:
        return epoch in self.heard

    def epoch_done(self, worker: str, metrics: Any) -> bool:
        self.heard.add(metrics.epoch)
        return False


def test_a_trial_has_its_retries_again_behind_a_new_epoch_only() -> None:
    scheduler = ConductedScheduler(cast(Conductor, _Journalled()))
    trial = SimpleNamespace(trial_id="x", num_failures=0, max_failures=RETRIES)

    def tell(epoch: int) -> None:
        message = Message(epoch=metrics(epoch))
        scheduler.on_trial_result(None, cast(Trial, trial), {"message": json.dumps(dataclasses.asdict(message))})

    tell(1)
    tell(2)
    assert trial.max_failures == RETRIES
    trial.num_failures = 2
    tell(1)
    tell(2)
    assert trial.max_failures == RETRIES, "told again from a checkpoint"
    tell(3)
    assert trial.max_failures == 2 + RETRIES


def metrics(epoch: int) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch, learning_rate=0.1, train_loss=1.0, valid_log_loss=1.0, valid_accuracy=0.5, seconds=1.0
    )
