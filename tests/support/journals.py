"""Events of a journal as a search writes them."""

import dataclasses
from pathlib import Path

from asc.config.experiment import Experiment
from asc.runs.events import EpochDone, Event, RunStarted, TrialAsked, TrialEnded
from asc.runs.journal import Entry, Journal
from asc.size.law import cost
from asc.training_results import EpochMetrics


def asked_of(trial: str, experiment: Experiment) -> TrialAsked:
    """The event that asks for a trial with this config."""
    size = cost(experiment)
    return TrialAsked(
        trial=trial,
        title=trial,
        point=None,
        config=experiment.flat(),
        repaired=False,
        **dataclasses.asdict(size.stored),
        macs_per_second=size.macs_per_second,
        peak_activation_bytes=size.peak_activation_bytes,
    )


STARTED = RunStarted(name="r", kind="search", settings={"seed": 0, "share": 0.5, "on": True, "data": "synthetic"})


def asked(trial: str) -> TrialAsked:
    return TrialAsked(
        trial=trial,
        title=f"{trial} w24-48",
        point={"architecture.widths.0": 24, "architecture.time_strides": "[2, 1]", "schedule.learning_rate_max": 1e-3},
        config=Experiment().flat(),
        repaired=True,
        parameters=113_976,
        size_bytes=130_704,
        nonzero_parameters=1000,
        nonzero_bytes=130_704,
        file_bytes=130_944,
        macs_per_second=50_000_000,
        peak_activation_bytes=1_000_000,
    )


def epoch(trial: str, number: int) -> EpochDone:
    metrics = EpochMetrics(
        epoch=number, learning_rate=0.1, train_loss=1 / 3, valid_log_loss=2.0, valid_accuracy=0.5, seconds=1.5
    )
    return EpochDone(trial=trial, metrics=metrics, checkpoint=f"trials/{trial}/last.safetensors")


def ended(trial: str, log_loss: float, accuracy: float = 0.5) -> TrialEnded:
    return TrialEnded(trial=trial, outcome="completed", epochs=3, seconds=9.0, log_loss=log_loss, accuracy=accuracy)


def written(path: Path, *events: Event) -> list[Entry]:
    journal = Journal(path)
    entries = [journal.append(event) for event in events]
    journal.close()
    return entries
