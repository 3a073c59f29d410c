"""What Tune is told of its trials: which one gets a worker that is free, how often one may fail. No Ray is running."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from asc.config.data_choice import DataChoice
from asc.config.recipes.loading import load_experiment
from asc.config.space_file import load_space
from asc.runs.events import RunStarted
from asc.runs.journal import Journal
from asc.runs.record import TrialRecord
from asc.search.cluster.memory import Headroom
from asc.search.cluster.ray_adapters import ConductedScheduler, ConductedSearcher, FailureWatch
from asc.search.cluster.trial import TrialOrder
from asc.search.conductor import Assignment, Conductor
from asc.search.repair import Budget
from asc.search.settings import SearchSettings
from asc.size.rules import rule


@pytest.fixture
def search(tmp_path: Path, settings: SearchSettings) -> "Search":
    return Search(tmp_path, dataclasses.replace(settings, trials=1, max_concurrent=1))


def conductor(folder: Path, settings: SearchSettings) -> Conductor:
    journal = Journal(folder / "journal.jsonl")
    journal.append(RunStarted(name="s", kind="search", settings=settings.scalars(), space=""))
    budget = Budget(rule=rule(settings.rule), kilobytes=settings.budget_kb)
    space, base = load_space("quick"), load_experiment("qat_8b")
    return Conductor(journal=journal, space=space, settings=settings, base=base, budget=budget)


def test_a_free_worker_goes_to_the_trial_that_waits_longest_once_no_new_one_comes_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = ConductedScheduler(cast(Conductor, None))
    first, second, third = (Trial("x", stub=True) for _ in range(3))
    for trial in (first, second, third):
        scheduler.on_trial_add(None, trial)
    assert scheduler.choose_trial_to_run(None) is None, "a worker is being started for each"
    monkeypatch.setattr("asc.search.cluster.ray_adapters._PATIENCE_S", -1.0)
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


def failed(folder: Path, text: str, *, number: int) -> Trial:
    """A trial of Tune's whose worker failed with this text for the `number`th time."""
    (folder / "error.txt").write_text(f"Failure # {number} (occurred at noon)\n{text}\n")
    return cast(Trial, SimpleNamespace(trial_id=f"w{number}", error_file=str(folder / "error.txt")))


class Search:
    """A conductor, a headroom that finds memory, and Tune's searcher and callback around them."""

    def __init__(self, folder: Path, settings: SearchSettings) -> None:
        self.folder, self.number, self.said = folder, 0, list[str]()
        self.lead = conductor(folder / "run", settings)
        self.headroom = Headroom(2, say=self.said.append, is_short=lambda: False, clock_s=lambda: 1000.0 * self.number)
        self.watch = FailureWatch(self.lead, self.headroom)
        self.searcher = ConductedSearcher(self.lead, order, self.headroom)

    def fail(self, text: str, *, began: bool = True) -> None:
        """A worker gets the trial and fails."""
        self.number += 1
        assert isinstance(self.searcher.suggest(f"w{self.number}"), dict)
        trial = failed(self.folder, text, number=self.number)
        if began:
            self.watch.on_trial_start(0, [], trial)
        self.watch.on_trial_error(0, [], trial)

    @property
    def trial(self) -> TrialRecord:
        return self.lead.record.trials["t000"]


def order(assignment: Assignment) -> TrialOrder:
    return TrialOrder(
        config=assignment.experiment.flat(),
        data=DataChoice("synthetic"),
        data_digest="",
        cache="",
        folder="",
        threads=1,
        journalled=assignment.journalled,
        on_gpu=False,
        shared=False,
    )


DIED = "The actor died unexpectedly before finishing this task."
MONITOR = "The actor died: OutOfMemoryError: 1 worker(s) were killed due to the node running low on memory."


@pytest.mark.parametrize(
    ("text", "reason", "end"),
    [
        (DIED, "its worker process died (killed, or its node is gone)", ""),
        ("Traceback\n  File x\nValueError: no", "ValueError: no", ""),
        (MONITOR, "it ran out of memory on its own, and Ray stopped its worker", ": make schedule.batch_size"),
        ("MemoryError: x", "it ran out of memory (MemoryError: x): run fewer at a time", ""),
    ],
)
def test_the_third_failure_is_the_last_and_says_why(search: Search, text: str, reason: str, end: str) -> None:
    for _ in range(3):
        search.fail(text)
    assert [retried.reason.startswith(reason) for retried in search.trial.retries] == [True, True]
    assert search.trial.ended is not None and search.trial.ended.outcome == "failed"
    assert (search.trial.ended.reason or "").startswith(reason + end)
    assert search.searcher.suggest("w9") == Searcher.FINISHED


def test_an_old_worker_that_dies_as_it_takes_a_trial_over_is_not_counted(search: Search) -> None:
    for _ in range(5):
        search.fail(DIED, began=False)
    assert search.trial.ended is None
    for _ in range(3):
        search.fail("The actor died because of an error raised in its creation task, ImportError: x", began=False)
    assert search.trial.ended is not None, "a new worker that cannot start is"


def test_what_memory_is_short_for_is_not_handed_out(search: Search) -> None:
    short = True
    search.headroom = Headroom(1, say=search.said.append, is_short=lambda: short, clock_s=lambda: 100.0 * search.number)
    search.watch = FailureWatch(search.lead, search.headroom)
    search.searcher = ConductedSearcher(search.lead, order, search.headroom)
    search.fail(MONITOR)
    search.number += 1
    assert search.searcher.suggest("w2") is None
    short = False
    assert isinstance(search.searcher.suggest("w2"), dict)
    search.searcher.on_trial_complete("w2")


def test_a_search_whose_memory_others_hold_is_halted_and_its_trials_stay_open(search: Search) -> None:
    search.headroom = Headroom(1, say=search.said.append, is_short=lambda: True, clock_s=lambda: 100.0 * search.number)
    search.watch = FailureWatch(search.lead, search.headroom)
    search.searcher = ConductedSearcher(search.lead, order, search.headroom)
    search.fail(MONITOR)
    search.number += 20
    assert search.searcher.suggest("w2") == Searcher.FINISHED
    assert "memory of this machine" in (search.lead.problem or "") and search.trial.ended is None
