"""Tracking for as long as a run is under way: MLflow follows the journal; what could not be sent is said."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from asc.journal import Journal
from asc.tracking.address import check_uri, default_uri, send_command, ui_command
from asc.tracking.mlflow import MlflowTracker


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Where a run is tracked: `browse` is what a person types to look at it."""

    uri: str
    browse: str


@contextlib.contextmanager
def tracked(journal: Journal, uri: str | None, say: Callable[[str], None]) -> Iterator[Tracking]:
    """Send a journal to MLflow while it grows; `uri` None means the sqlite file beside the run's folder.

    Raises:
        InputError: the URI's form is wrong.
    """
    folder = journal.path.parent
    where = uri or default_uri(folder.parent)
    check_uri(where)
    tracker = MlflowTracker(folder, uri=where, on_warning=say)
    tracker.start()
    journal.listeners.append(lambda entry: tracker.notify())
    try:
        yield Tracking(uri=where, browse=ui_command(where))
    finally:
        shipped = tracker.close()
        if shipped.problem is not None:
            say(
                f"{shipped.problem}; {shipped.pending} events wait in {journal.path}, "
                f"send them later with: {send_command(folder, where)}"
            )
