"""The record of a run, folded from its journal: trials, finals, their states and ranks."""

import dataclasses
from pathlib import Path

import pytest
from journals import STARTED, asked, ended, epoch, written

from asc.errors import InputError
from asc.results import SplitFigures
from asc.runs.events import (
    Event,
    FinalAsked,
    FinalConfirmed,
    FinalistsChosen,
    PointRefused,
    RunEnded,
    RungReached,
    RunResumed,
    TrialEnded,
    TrialPromoted,
)
from asc.runs.journal import Entry
from asc.runs.record import add, fold

CHOSEN = FinalistsChosen(trials=("t000", "t001"), seeds=(1, 2), cycles=3, epochs_per_cycle=120)
FINAL = FinalAsked(final="t000-seed1", trial="t000", title="t000-seed1 w24", seed=1, config={"seed": 1})
CONFIRMED = FinalConfirmed(
    final="t000-seed1", figures=SplitFigures(split="calibration", clips=24, log_loss=1.25, accuracy=0.5)
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "journal.jsonl"


def test_a_journal_folds_into_trials(path: Path) -> None:
    rung = RungReached(trial="t000", epoch=2, log_loss=2.0, stopped=False)
    refused = PointRefused(point={"a": 1}, reason="too large")
    entries = written(
        path,
        STARTED,
        asked("t000"),
        epoch("t000", 1),
        asked("t001"),
        epoch("t000", 2),
        rung,
        refused,
        ended("t000", 1.5),
        RunEnded(outcome="interrupted", best="t000"),
    )
    record = fold(entries)
    assert record.started == STARTED and record.started_at_s == entries[0].time_s
    assert list(record.trials) == ["t000", "t001"]
    first, second = record.trials.values()
    assert sorted(first.epochs) == [1, 2] and first.rungs == [rung] and first.ended == ended("t000", 1.5)
    assert first.asked_at_s == entries[1].time_s
    assert second.ended is None and not second.epochs
    assert record.unfinished == {"t001": second} and record.outcomes == {"completed": 1}
    assert record.refused == [refused]
    assert record.ended == RunEnded(outcome="interrupted", best="t000")
    add(record, Entry(time_s=0.0, event=RunResumed(settings={"trials": 9}), end_offset=0))
    assert record.ended is None and record.resumed == [RunResumed(settings={"trials": 9})]


def test_a_paused_trial_is_unfinished_until_it_is_promoted_or_ended(path: Path) -> None:
    paused = [RungReached(trial=name, epoch=2, log_loss=2.0, stopped=False, paused=True) for name in ("t000", "t001")]
    record = fold(written(path, STARTED, asked("t000"), asked("t001"), epoch("t000", 2), *paused))
    assert record.paused == {"t000": 2, "t001": 2} and list(record.unfinished) == ["t000", "t001"]
    assert [trial.state for trial in record.trials.values()] == ["paused", "paused"]
    stopped = dataclasses.replace(ended("t001", 1.0), outcome="stopped", log_loss=None)
    for event in (TrialPromoted(trial="t000", epoch=2), stopped):
        add(record, Entry(time_s=0.0, event=event, end_offset=0))
    assert not record.paused and list(record.unfinished) == ["t000"]
    assert [trial.state for trial in record.trials.values()] == ["unfinished", "stopped"]


def test_completed_trials_are_sorted_by_log_loss_then_by_number(path: Path) -> None:
    names = ["t999", "t1000", "t1001", "t1002"]
    stopped = TrialEnded(trial="t1002", outcome="stopped", epochs=1, seconds=1.0)
    entries = written(
        path, STARTED, *map(asked, names), ended("t1001", 1.0), ended("t1000", 2.0), ended("t999", 2.0), stopped
    )
    assert [trial.asked.trial for trial in fold(entries).completed()] == ["t1001", "t999", "t1000"]


def test_trials_may_be_ranked_by_accuracy_and_a_resume_may_change_that(path: Path) -> None:
    names = ["t000", "t001", "t002", "t003", "t004"]
    ends = ended("t000", 1.0, 0.5), ended("t001", 2.0, 0.7), ended("t002", 1.5, 0.7)
    better = dataclasses.replace(epoch("t004", 1).metrics, valid_log_loss=3.0, valid_accuracy=0.9)
    late = epoch("t003", 1), dataclasses.replace(epoch("t004", 1), metrics=better)
    by_accuracy = dataclasses.replace(STARTED, settings={**STARTED.settings, "rank_by": "accuracy"})
    entries = written(path, by_accuracy, *map(asked, names), *ends, *late)
    record = fold(entries)

    def order() -> list[str]:
        return [trial.asked.trial for _, trial in record.ranked()]

    assert order() == ["t002", "t001", "t000", "t004", "t003"], "of equal accuracies the lower log loss comes first"
    add(record, Entry(time_s=0.0, event=RunResumed(settings={"rank_by": "log_loss"}), end_offset=0))
    assert order() == ["t000", "t002", "t001", "t003", "t004"]
    add(record, Entry(time_s=0.0, event=RunResumed(settings={"trials": 9}), end_offset=0))
    assert record.rank_by == "log_loss"


def test_a_journal_folds_finals_apart_from_trials(path: Path) -> None:
    entries = written(
        path, STARTED, asked("t000"), ended("t000", 1.5), CHOSEN, FINAL, epoch("t000-seed1", 1), CONFIRMED
    )
    record = fold(entries)
    assert record.finalists == CHOSEN and list(record.trials) == ["t000"] and not record.unfinished
    (found,) = record.finals.values()
    assert (found.trial, found.seed, found.confirmed) == ("t000", 1, CONFIRMED.figures)
    assert found.training is record.training("t000-seed1") and sorted(found.training.epochs) == [1]
    assert found.training.asked.config == {"seed": 1} and found.training.asked_at_s == entries[4].time_s
    assert found.training.asked.predicted == record.trials["t000"].asked.predicted
    add(record, Entry(time_s=0.0, event=ended("t000-seed1", 1.0), end_offset=0))
    assert found.training.ended == ended("t000-seed1", 1.0)
    assert record.outcomes == {"completed": 1} and record.completed() == [record.trials["t000"]]


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([], "the journal is empty"),
        ([RunEnded(outcome="finished", best=None)], "the journal is empty"),
        ([STARTED, STARTED], "the journal starts twice"),
        ([STARTED, epoch("t7", 1)], "the journal never asked for trial t7"),
        ([STARTED, ended("t7", 1.0)], "the journal never asked for trial t7"),
        ([STARTED, RungReached(trial="t7", epoch=1, log_loss=1.0, stopped=False)], "never asked for trial t7"),
        ([STARTED, FINAL], "never asked for trial t000"),
        ([STARTED, asked("t000-seed1"), CONFIRMED], "never asked for final t000-seed1"),
    ],
)
def test_an_inconsistent_journal_is_refused(events: list[Event], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        fold([Entry(time_s=0.0, event=event, end_offset=0) for event in events])
