"""The page where a search ends: written before the end is journalled, and never in the way of it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from asc.runs.events import RunEnded
from asc.runs.journal import Entry, Journal
from asc.search.result_page import NO_PAGE, Page, with_page

ENDED = RunEnded(outcome="finished", best=None)


def test_the_page_shows_the_end_and_is_there_before_anyone_hears_of_it(journal: Callable[[], Journal]) -> None:
    told, seen = journal(), list[object]()

    def page_of(entries: Sequence[Entry], folder: Path) -> bytes:
        seen.append((len(entries), entries[-1].event, folder))
        return b"page"

    path = told.path.parent / "report.html"
    told.listeners.append(lambda entry: seen.append(path.read_bytes()))
    before = len(told.entries)
    assert with_page(told, ENDED, page_of) == Page(path=path)
    assert seen == [(before + 1, ENDED, path.parent), b"page"]
    assert told.entries[-1].event == ENDED and len(told.entries) == before + 1


def test_a_full_disk_leaves_one_sentence_and_loses_nothing(
    journal: Callable[[], Journal], file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    told = journal()
    (told.path.parent / "report.html").write_bytes(b"earlier")
    with file_size_limit(100_000):
        page = with_page(told, ENDED, lambda entries, folder: b"x" * 200_000)
    assert page.path is None and page.problem is not None
    folder = told.path.parent
    assert page.problem == (
        f"{folder / 'report.html'} cannot be written (File too large): free some space, then write it with: "
        f"python launch/report.py s --storage {folder.parent}"
    )
    assert told.entries[-1].event == ENDED
    assert sorted(path.name for path in folder.iterdir()) == ["journal.jsonl", "report.html"]
    assert (folder / "report.html").read_bytes() == b"earlier"


def test_a_fault_of_the_page_does_not_keep_the_end_from_the_journal(journal: Callable[[], Journal]) -> None:
    told = journal()

    def page_of(entries: Sequence[Entry], folder: Path) -> bytes:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        with_page(told, ENDED, page_of)
    assert told.entries[-1].event == ENDED


def test_no_page_is_written_where_none_is_asked_for(journal: Callable[[], Journal]) -> None:
    told = journal()
    assert with_page(told, ENDED, None) == NO_PAGE
    assert [path.name for path in told.path.parent.iterdir()] == ["journal.jsonl"]
