"""What the page shows of a search is what the journal and the leaderboard say."""

from pathlib import Path

import pytest
from told_search import EPOCHS, EPOCHS_PER_CYCLE, ToldSearch

from asc.errors import InputError
from asc.report.from_journal import search_of
from asc.runs.events import RunStarted
from asc.runs.journal import Journal, read_journal
from asc.runs.record import fold
from asc.search.leaderboard import leaderboard
from asc.size.rules import rule

NIGHT = Path(__file__).resolve().parents[1] / "written_by_0_1" / "night"


def test_trials_have_the_ranks_and_figures_of_the_leaderboard(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    told.trial(1.2, reference=True)
    for log_loss, outcome in ((0.9, "completed"), (1.9, "stopped"), (1.0, "diverged"), (1.5, "completed")):
        told.trial(log_loss, outcome=outcome)  # type: ignore[arg-type]
    told.trial(2.0, outcome=None)
    rows = leaderboard(fold(told.entries), told.space, told.budget.rule)
    shown = search_of(told.entries).trials
    assert [(t.rank, t.name, t.outcome, t.log_loss, t.accuracy, t.counted_bytes, t.epochs) for t in shown] == [
        (r.rank, r.trial, r.outcome, r.log_loss, r.accuracy, r.predicted_bytes, r.epochs) for r in rows
    ]
    assert [trial.mmacs_per_s * 1e6 for trial in shown] == pytest.approx([row.macs_per_second for row in rows])
    assert len(shown) == 6 and shown[0].log_loss == 0.9 and shown[0].rank == 1


def test_values_are_those_that_were_trained_not_those_that_were_drawn(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s", budget_kb=16.0)
    told.trial(1.0, point={"architecture.widths.0": 24, "architecture.widths.1": 48})
    trial = search_of(told.entries).trials[0]
    assert trial.repaired and trial.kilobytes <= 16
    assert trial.values["architecture.widths.1"] == told.entries[1].event.config["architecture.widths.1"] < 48  # type: ignore[union-attr,operator]
    assert isinstance(trial.values["architecture.time_strides"], str), "lists are JSON text"
    assert set(trial.values) == set(told.space.sampled)


def test_the_best_value_reached_falls_with_the_epochs_spent(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    for log_loss in (1.5, 1.8, 1.1):
        told.trial(log_loss)
    search = search_of(told.entries)
    assert [(one.epochs, one.log_loss, one.trial) for one in search.reached] == [
        (EPOCHS, 1.5, "t000"),
        (3 * EPOCHS, 1.1, "t002"),
    ]
    assert search.epochs == 3 * EPOCHS
    assert search.cycle_ends == (EPOCHS_PER_CYCLE, EPOCHS) and search.rungs == (EPOCHS_PER_CYCLE,)


def test_families_have_their_own_values(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s", space="families128")
    for log_loss in (1.0, 1.1, 1.2, 1.3, 1.4, 1.5):
        told.trial(log_loss)
    search = search_of(told.entries)
    families = {str(trial.values["architecture.family"]): trial.values for trial in search.trials}
    assert len(families) > 1
    for family, values in families.items():
        assert set(values) == {*told.space.of_family(family).sampled, "architecture.family"}


def test_a_journal_of_an_older_asc_is_read(tmp_path: Path) -> None:
    search = search_of(read_journal(NIGHT / "journal.jsonl"))
    assert search.name == "night" and search.rule == rule("dcase2021") and search.limit_kb == 4
    assert search.best is not None and search.best.log_loss_interval is None
    assert search.best.values["architecture.widths.0"] == 8


def test_a_space_that_this_asc_cannot_read_leaves_the_points(tmp_path: Path) -> None:
    journal, told = Journal(tmp_path / "new" / "journal.jsonl"), ToldSearch(tmp_path / "s")
    told.trial(1.0)
    started, asked, *_ = (entry.event for entry in told.entries)
    assert isinstance(started, RunStarted)
    journal.append(RunStarted(name="new", kind="search", settings=started.settings, space="x\nschema = 9\n"))
    journal.append(asked)
    search = search_of(journal.entries)
    assert search.space is None and set(search.trials[0].values) == set(told.space.sampled)


def test_a_training_and_an_empty_journal_are_refused_in_one_sentence(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "t" / "journal.jsonl")
    with pytest.raises(InputError, match="the journal is empty"):
        search_of(journal.entries)
    journal.append(RunStarted(name="t", kind="train", settings={}))
    with pytest.raises(InputError, match="t is a training, not a search"):
        search_of(journal.entries)


def test_finals_are_no_progress_of_the_search(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    first, second = told.trial(1.0), told.trial(1.1)
    told.chosen(first, second)
    told.final(first, 0.8, unseen=1.2)
    unfinished = search_of(told.entries)
    assert unfinished.shipped is None and unfinished.saved is unfinished.best, "one final is still to come"
    shipped = told.final(second, 0.9, unseen=1.1, accuracy=0.7)
    search = search_of(told.entries)
    assert [(one.epochs, one.log_loss, one.trial) for one in search.reached] == [(EPOCHS, 1.0, first)]
    assert search.epochs == 2 * EPOCHS and [trial.name for trial in search.trials] == [first, second]
    assert search.best is not None and search.best.name == first
    saved = search.saved
    assert saved is not None and saved is search.shipped and saved in search.finals and len(search.finals) == 2
    assert (saved.name, saved.rank, saved.log_loss, saved.accuracy) == (shipped, None, 0.9, 0.7)
    assert saved.values == search.trials[1].values, "the network is that of its trial"
