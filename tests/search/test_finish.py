"""A search that is cut short: its results are written, and the user reads how to resume."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from asc.config.space import Space
from asc.runs.events import Event, RunEnded
from asc.runs.journal import Journal
from asc.search.conductor import Conductor
from asc.search.finish import rescued
from asc.search.plan import SearchPlan, plan_search
from asc.search.settings import SearchSettings


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
