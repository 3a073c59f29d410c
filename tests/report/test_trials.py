"""A search tells its state and its options, as its journal stands."""

from pathlib import Path

from told_search import ToldSearch

from asc.report.from_journal import search_of
from asc.runs.events import RunEnded, RunResumed


def test_the_limits_and_the_state_follow_the_journal(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s", rule="dcase2024", max_mmacs_per_s=40.0)
    search = search_of(told.entries)
    assert (search.limit_kb, search.most_mmacs_per_s) == (128, 30), "the rule's own limit on MACs is tighter"
    assert search.state == "unfinished" and search.best is None and search.reference is None and search.classes == 10
    told.journal.append(RunEnded(outcome="interrupted", best=None))
    assert search_of(told.entries).state == "interrupted"
    told.journal.append(RunResumed(settings={"trials": 99}))
    assert search_of(told.entries).state == "unfinished" and search_of(told.entries).settings["trials"] == 99


def test_a_resume_that_gives_options_another_value_is_told(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    told.journal.append(RunResumed(settings={"trials": 8, "mlflow_uri": "none"}))
    assert search_of(told.entries).changed == ()
    told.journal.append(RunResumed(settings={"trials": 9, "max_concurrent": 1}))
    told.journal.append(RunResumed(settings={"trials": 8}))
    assert search_of(told.entries).changed == ("trials",), "it is 8 again, but was 9 for a while"
