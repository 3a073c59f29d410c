"""Writes the report page of a search where it ends. `asc.report` makes the page; the launcher passes that function in.

The page is written before the end is journalled, because MLflow is sent the result files when it hears of the end.
"""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asc.errors import disk_is_full
from asc.launchers import command
from asc.model_file.tensors import write_bytes
from asc.run_files import REPORT_PAGE
from asc.runs.events import RunEnded
from asc.runs.journal import Entry, Journal
from asc.runs.storage import storage_option

PageOf = Callable[[Sequence[Entry], Path], bytes]
"""Makes the page from the entries of a journal and the run's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Where the page is, or in one sentence why it could not be written; neither if none was asked for."""

    path: Path | None = None
    problem: str | None = None


NO_PAGE = Page()


def with_page(journal: Journal, ended: RunEnded, page_of: PageOf | None) -> Page:
    """Write the page as the journal will stand, then journal the end of the run, whatever became of the page.

    A disk without space for the page takes nothing else from the search: the answer says so.
    """
    try:
        return NO_PAGE if page_of is None else _written(journal, ended, page_of)
    finally:
        journal.append(ended)


def _written(journal: Journal, ended: RunEnded, page_of: PageOf) -> Page:
    folder = journal.path.parent
    last = Entry(time_s=time.time(), event=ended, end_offset=0)
    path = folder / REPORT_PAGE
    data = page_of([*journal.entries, last], folder)
    try:
        write_bytes(path, data)
    except OSError as error:
        how = f"{command('report')} {shlex.quote(folder.name)}{storage_option(folder)}"
        advice = "free some space" if disk_is_full(error) else "fix that"
        return Page(problem=f"{path} cannot be written ({error.strerror}): {advice}, then write it with: {how}")
    return Page(path=path)
