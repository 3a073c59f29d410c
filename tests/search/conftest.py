"""The journal of a search with a trial of every outcome."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from asc.config.recipes.loading import load_experiment
from asc.config.space import Space
from asc.config.space_file import load_space
from asc.results import SplitFigures, StoredSize
from asc.runs.events import EpochDone as Epoch
from asc.runs.events import (
    Event,
    FinalAsked,
    FinalConfirmed,
    FinalistsChosen,
    PointRefused,
    RungReached,
    RunStarted,
    TrialAsked,
    TrialEnded,
)
from asc.runs.journal import Journal
from asc.search.plan import SearchPlan, plan_search
from asc.search.settings import SearchSettings
from asc.training_results import EpochMetrics

BUILT = StoredSize(parameters=1, size_bytes=7, nonzero_parameters=1, nonzero_bytes=7, file_bytes=9)


@pytest.fixture(scope="session")
def idlab128() -> Space:
    return load_space("idlab128")


@pytest.fixture(scope="session")
def settings() -> SearchSettings:
    return SearchSettings(
        budget_kb=128,
        rule="dcase2021",
        recipe="qat_8b",
        data="synthetic",
        fold=1,
        data_seed=0,
        seed=0,
        trials=6,
        max_concurrent=2,
        cpus_per_trial=1,
    )


@pytest.fixture(scope="session")
def taught(settings: SearchSettings) -> SearchSettings:
    """Four trials, then the best two with two seeds each, taught by themselves and by two larger networks."""
    finals = {"final_top": 2, "final_seeds": 2, "final_cycles": 2, "final_epochs": 2}
    return dataclasses.replace(settings, trials=4, seed=7, **finals, distil=True, teacher_kb=512.0)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def quick(settings: SearchSettings) -> SearchPlan:
    """The plan of a search in the space "quick"."""
    return plan_search(settings, load_space("quick"))


def asked(trial: str, width: int, *, reference: bool = False) -> TrialAsked:
    config = load_experiment("qat_8b").updated({"architecture.widths": [width, 2 * width]}).flat()
    return TrialAsked(
        trial=trial,
        title=f"{trial} w{width}",
        point={},
        config=config,
        repaired=False,
        reference=reference,
        parameters=1000 * width,
        size_bytes=1024 * width,
        nonzero_parameters=1000,
        nonzero_bytes=1024 * width,
        file_bytes=1024 * width + 3_000,
        macs_per_second=1_000_000 * width,
        peak_activation_bytes=10_000,
    )


def epoch(trial: str, number: int, log_loss: float) -> Epoch:
    metrics = EpochMetrics(
        epoch=number, learning_rate=1e-3, train_loss=1.0, valid_log_loss=log_loss, valid_accuracy=0.5, seconds=2.0
    )
    return Epoch(trial=trial, metrics=metrics, checkpoint="x")


def ended(trial: str, outcome: str, log_loss: float | None = None) -> TrialEnded:
    return TrialEnded(
        trial=trial,
        outcome=outcome,  # type: ignore[arg-type]
        epochs=1,
        seconds=4.0,
        log_loss=log_loss,
        accuracy=None if log_loss is None else 0.75,
        built=None
        if log_loss is None
        else StoredSize(parameters=1, size_bytes=7, nonzero_parameters=1, nonzero_bytes=7, file_bytes=9),
        reason=None if log_loss is not None else "why",
    )


@pytest.fixture
def story(settings: SearchSettings) -> list[Event]:
    """Events of six trials: two completed, one stopped, one diverged, one failed, one unfinished."""
    return [
        RunStarted(name="s", kind="search", settings=settings.scalars(), space="n\n"),
        asked("t000", 24, reference=True),
        asked("t001", 16),
        epoch("t000", 1, 1.5),
        epoch("t001", 1, 1.4),
        ended("t000", "completed", 1.2),
        ended("t001", "completed", 0.9),
        PointRefused(point={}, reason="no"),
        asked("t002", 8),
        epoch("t002", 1, 2.0),
        RungReached(trial="t002", epoch=1, log_loss=2.0, stopped=True),
        ended("t002", "stopped"),
        asked("t003", 12),
        ended("t003", "diverged"),
        asked("t004", 20),
        ended("t004", "failed"),
        asked("t005", 28),
        epoch("t005", 1, 1.9),
    ]


@pytest.fixture
def finals() -> list[Event]:
    """Events after those of `story`: both completed trials are retrained with two seeds, and the second one wins."""
    events: list[Event] = [FinalistsChosen(trials=("t001", "t000"), seeds=(1, 2), cycles=3, epochs_per_cycle=120)]
    for seed, valid in ((1, 0.9), (2, 1.0)):
        for trial, mean, better in (("t001", 1.5, 0.1), ("t000", 1.3, 0.0)):
            name = f"{trial}-seed{seed}"
            log_loss = mean + 0.1 * (2 * seed - 3)
            figures = SplitFigures(split="calibration", clips=24, log_loss=log_loss, accuracy=0.5)
            events += [
                FinalAsked(final=name, trial=trial, title=f"{name} w1", seed=seed, config={"seed": seed}),
                epoch(name, 1, 1.9),
                FinalConfirmed(final=name, figures=figures),
                ended(name, "completed", valid - better * (seed - 1)),
            ]
    return events


@pytest.fixture
def journal(tmp_path: Path, story: list[Event]) -> Callable[[], Journal]:
    def written() -> Journal:
        journal = Journal(tmp_path / "s" / "journal.jsonl")
        for event in story:
            journal.append(event)
        return journal

    return written
