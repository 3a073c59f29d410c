"""What the results of a search say: what was gained, what the best network demands, and which one is saved."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from asc.runs.events import Event, RunStarted, TrialEnded
from asc.runs.finals import finals_of
from asc.runs.journal import Journal
from asc.runs.record import fold
from asc.search.settings import SearchSettings
from asc.search.summary import Summary, summary_json
from asc.size.rules import rule


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("dcase2021", "24,576", "16,384"), ("dcase2022", "24,000", "16,000"), ("file", "27,576", "19,384")],
)
def test_the_gain_is_given_in_bytes_as_the_rule_counts_them(
    journal: Callable[[], Journal], tmp_path: Path, name: str, before: str, after: str
) -> None:
    record = fold(journal().entries)
    summary = Summary(
        ending="finished",
        folder=tmp_path,
        rule=rule(name),
        rows=[],
        trials=tuple(record.trials.values()),
        best=record.completed()[0],
        reference=record.trials["t000"],
    )
    unit_bytes, file = rule(name).unit_bytes, 16 * 1024 + 3000
    assert summary.demands() == (
        f"t001 takes {int(after.replace(',', '')) / unit_bytes:.1f} KB under {name}, {file:,} bytes as a file, 16.0 "
        "MMAC per second of audio, and 10 KB of RAM at the peak (for 10 s)"
    )
    assert summary.gained().endswith(f"log loss 1.200 -> 0.900, accuracy 75.0% -> 75.0%, bytes {before} -> {after}")


def test_what_is_saved_is_the_winner_of_the_finals(
    journal: Callable[[], Journal], finals: list[Event], settings: SearchSettings, tmp_path: Path
) -> None:
    opened = journal()
    for event in finals:
        opened.append(event)
    record = fold(opened.entries)
    summary = Summary(
        ending="finished",
        folder=tmp_path,
        rule=rule("dcase2021"),
        rows=[],
        trials=tuple(record.trials.values()),
        best=record.completed()[0],
        reference=record.trials["t000"],
        finals=finals_of(record),
    )
    assert summary.saved is record.finals["t000-seed1"].training
    assert "log loss 1.200 -> 0.900" in summary.gained(), "trials are compared with the reference trial"
    assert summary.demands().startswith("t000-seed1 takes 24.0 KB under dcase2021, 27,576 bytes as a file, 24.0 MMAC")
    said = summary_json(summary, settings)
    assert said["best"]["trial"] == "t000-seed1" and said["best"]["size_bytes"] == 24 * 1024
    assert [row["trial"] for row in said["finalists"]] == ["t000", "t001"]
    unfinished = dataclasses.replace(summary, finals=None)
    assert unfinished.saved is record.completed()[0] and "finalists" not in summary_json(unfinished, settings)


def _finished(journal: Journal, folder: Path) -> Summary:
    """The summary of a finished search, without its table."""
    record = fold(journal.entries)
    return Summary(
        ending="finished",
        folder=folder,
        rule=rule("dcase2021"),
        rows=[],
        trials=tuple(record.trials.values()),
        best=record.completed()[0],
        reference=record.trials["t000"],
    )


def test_an_accuracy_that_fell_is_not_called_a_gain(
    journal: Callable[[], Journal], story: list[Event], tmp_path: Path
) -> None:
    place = next(n for n, event in enumerate(story) if isinstance(event, TrialEnded) and event.trial == "t001")
    story[place] = dataclasses.replace(story[place], accuracy=0.5)  # type: ignore[type-var]
    summary = _finished(journal(), tmp_path)
    assert summary.gained() == (
        "a better log loss than the reference (trial 0), but a lower accuracy: log loss 1.200 -> 0.900, accuracy 75.0% "
        "-> 50.0%, bytes 24,576 -> 16,384"
    )


def test_a_log_loss_that_rose_is_said_with_a_better_accuracy(
    journal: Callable[[], Journal], story: list[Event], tmp_path: Path
) -> None:
    begun = story[0]
    assert isinstance(begun, RunStarted)
    story[0] = dataclasses.replace(begun, settings={**begun.settings, "rank_by": "accuracy"})
    place = next(n for n, event in enumerate(story) if isinstance(event, TrialEnded) and event.trial == "t001")
    story[place] = dataclasses.replace(story[place], log_loss=1.3, accuracy=0.8)  # type: ignore[type-var]
    summary = _finished(journal(), tmp_path)
    assert summary.gained().startswith(
        "a better accuracy than the reference (trial 0), but a higher log loss: log loss 1.200 -> 1.300, accuracy 75.0%"
    )
