"""Tracks a run while it runs: sends its journal to MLflow and reports what could not be sent."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from asc.run_files import JOURNAL
from asc.runs.journal import Journal, read_start
from asc.runs.record import fold
from asc.tracking.address import (
    OFF,
    SEARCHES_VIEW,
    check_uri,
    default_uri,
    search_view,
    send_command,
    serve_command,
    ui_command,
    ui_url,
)
from asc.tracking.content import run_key
from asc.tracking.cursor import load_cursor
from asc.tracking.mlflow import MlflowTracker
from asc.tracking.tracker import NullTracker, Tracker


@contextlib.contextmanager
def tracked(journal: Journal, uri: str | None, say: Callable[[str], None]) -> Iterator[None]:
    """Send a journal to MLflow while it grows. `uri` None means the sqlite file beside the run, `none` no tracking.

    Raises:
        InputError: the URI is malformed, or another process is sending this run's events.
    """
    folder = journal.path.parent
    where = uri or default_uri(folder.parent)
    check_uri(where)
    tracker: Tracker = NullTracker() if where == OFF else MlflowTracker(folder, uri=where, on_warning=say)
    tracker.start()
    journal.listeners.append(lambda entry: tracker.notify())
    try:
        yield
    finally:
        shipped = tracker.close()
        if shipped.problem is not None:
            waiting = f"{shipped.pending} events wait" if shipped.pending else "the events are"
            waiting = f"{waiting} in {journal.path}, send them" if not shipped.model_waits else "send the best model"
            say(f"{shipped.problem}; {waiting} later with: {send_command(folder, where)}")


def pages(folder: Path, uri: str) -> list[str]:
    """A line for each saved view in which a run is shown, with its URL; empty if nothing of the run was sent."""
    experiment_id = load_cursor(folder, uri).experiment_id
    start = read_start(folder / JOURNAL)
    if experiment_id is None or start is None:
        return []
    record = fold([start])
    searches = f"searches with their trials: {ui_url(uri, experiment_id, SEARCHES_VIEW)}"
    if record.started.kind != "search":
        return [searches]
    return [
        f"the trials of this search, best first: {ui_url(uri, experiment_id, search_view(run_key(record)))}",
        f"the trials of all searches: {ui_url(uri, experiment_id)}",
        searches,
    ]


def browse(folder: Path, uri: str | None) -> str:
    """The command to look at a run, the pages that show it, and the command to serve its best model.

    The pages and the last command are left out if the trials or the model were not sent.
    """
    if uri == OFF:
        return f"{send_command(folder, default_uri(folder.parent))} first, because tracking was off"
    where = uri or default_uri(folder.parent)
    cursor = load_cursor(folder, where)
    seen = "".join(f"\n{line}" for line in pages(folder, where))
    served = f"\nserve the best model with: {serve_command(where, cursor.model_uri)}" if cursor.model_uri else ""
    return ui_command(where) + seen + served
