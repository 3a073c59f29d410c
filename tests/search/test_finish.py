"""The output at the end of a search."""

import dataclasses
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from asc.config.space import Space
from asc.results import OutcomeKind
from asc.runs.events import Event, RunEnded, RunStarted, TrialAsked, TrialEnded, TrialRetried
from asc.runs.finals import finals_of
from asc.runs.journal import Journal
from asc.runs.record import TrialRecord, fold
from asc.search.cluster.study import Ending
from asc.search.conductor import Conductor
from asc.search.finish import Summary, commands, rescued, summary_json, verdict
from asc.search.plan import SearchPlan, plan_search
from asc.search.settings import SearchSettings
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


def test_what_is_saved_is_the_winner_of_the_finals_and_needs_no_full_schedule(
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
    assert "train the best with the full schedule" not in dict(commands(summary, settings, "browse"))
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


@pytest.mark.parametrize("name", ["night", "my night", "it's $HOME; x"])
def test_the_command_that_trains_the_best_can_be_pasted_for_any_run_name(
    journal: Callable[[], Journal], settings: SearchSettings, tmp_path: Path, name: str
) -> None:
    best, folder = fold(journal().entries).completed()[0], tmp_path / name
    summary = Summary(
        ending="finished", folder=folder, rule=rule("dcase2021"), rows=[], trials=(best,), best=best, reference=None
    )
    settings = dataclasses.replace(settings, group_from=r"/(\d+)'", holdout_devices="s2, s3")
    words = shlex.split(dict(commands(summary, settings, "browse"))["train the best with the full schedule"])
    assert words[words.index("--holdout-devices") + 1] == "s2, s3"
    assert words[words.index("--group-from") + 1] == r"/(\d+)'"
    assert words[words.index("--name") + 1 :] == [f"{name}-best", "--cycles", "3", "--epochs-per-cycle", "120"]
    assert words[words.index("--config") + 1] == str(folder / "best" / "config.toml")


def test_a_search_without_a_network_says_why_and_exits_with_1_only_for_a_fault_of_asc(
    story: list[Event], tmp_path: Path
) -> None:
    asked = next(event for event in story if isinstance(event, TrialAsked))

    def said(
        ending: Ending, outcome: OutcomeKind | None, reason: str, retried: str | None = None
    ) -> tuple[int, str | None]:
        trial = TrialRecord(asked=asked, asked_at_s=0.0, number=0)
        if retried is not None:
            trial.retries.append(TrialRetried(trial=asked.trial, epoch=0, reason=retried))
        if outcome is not None:
            trial.ended = TrialEnded(trial=asked.trial, outcome=outcome, epochs=1, seconds=1.0, reason=reason)
        trials = () if outcome is None and not reason else (trial,)
        summary = Summary(
            ending=ending, folder=tmp_path, rule=rule("file"), rows=[], trials=trials, best=None, reference=None
        )
        return verdict(summary, None)

    untrained, died = (
        "no trial was trained to its end: ",
        "its worker process died (killed, or its node is gone)",
    )
    assert said("finished", "failed", "key x: make it 1") == (2, f"{untrained}key x: make it 1")
    assert said("finished", "failed", died, died) == (2, f"{untrained}{died}")
    assert said("finished", "failed", "KeyError: 1", "KeyError: 1") == (1, f"{untrained}KeyError: 1")
    code, why = said("finished", "diverged", "the loss was no longer a number in epoch 1")
    assert code == 2 and str(why).endswith("epoch 1; make schedule.learning_rate_max smaller in the space")
    code, why = said("out of time", None, "unfinished")
    assert code == 2 and "time was up before a trial was trained to its end; then resume with: python launch/" in str(
        why
    )
    code, why = said("halted", None, "")
    assert code == 2 and str(why).startswith("resume with: python launch/"), "without a reason it is still a sentence"
    code, why = said("finished", None, "")
    assert code == 2 and "no point of the space is within the budget" in str(why)


@pytest.fixture(scope="module")
def planned(settings: SearchSettings, idlab128: Space) -> SearchPlan:
    return plan_search(settings, idlab128)


@pytest.fixture
def lead(planned: SearchPlan, story: list[Event], tmp_path: Path) -> Conductor:
    """A search in which no trial has ended."""
    journal = Journal(tmp_path / "s" / "journal.jsonl")
    for event in story[:4]:
        journal.append(event)
    return Conductor(
        journal=journal, space=planned.space, settings=planned.settings, base=planned.base, budget=planned.budget
    )


def test_an_interrupted_search_writes_its_results_and_names_the_files(lead: Conductor, planned: SearchPlan) -> None:
    for error in (ZeroDivisionError, KeyboardInterrupt, SystemExit):
        lead.record.ended, said = None, list[str]()
        folder = lead.journal.path.parent
        with pytest.raises(error), rescued(lead, planned, said.append):
            raise error
        assert "unfinished" in (folder / "leaderboard.csv").read_text()
        assert lead.record.ended == RunEnded(outcome="interrupted", best=None)
        named, _, then = said[0].partition("; resume with: ")
        assert [(folder / name).exists() for name in named.partition(": ")[2].split(", ")] == [True, True, True]
        assert len(said) == 1 and then == f"python launch/search.py --resume s --storage {folder.parent}"
        (folder / "leaderboard.csv").unlink()


def test_the_results_of_an_ended_search_are_not_written_again(lead: Conductor, planned: SearchPlan) -> None:
    said = list[str]()
    with rescued(lead, planned, said.append):
        lead.journal.append(RunEnded(outcome="finished", best=None))
    with pytest.raises(ValueError), rescued(lead, planned, said.append):
        raise ValueError
    assert said == [] and not (lead.journal.path.parent / "leaderboard.csv").exists()


def test_a_full_disk_is_reported_and_does_not_hide_the_error(
    lead: Conductor, planned: SearchPlan, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    said = list[str]()
    with file_size_limit(10), pytest.raises(ZeroDivisionError), rescued(lead, planned, said.append):
        raise ZeroDivisionError
    assert "without a leaderboard (File too large); resume with" in said[0]
    assert lead.record.ended is None
