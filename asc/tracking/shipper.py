"""Sends a journal to MLflow, starting where the last process stopped.

Its state is in the journal, the cursor and MLflow. After any failure a new shipper replaces it, so nothing in memory
has to survive an error.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from asc.run_files import BEST_FOLDER, JOURNAL, MODEL_CARD, MODEL_FILE
from asc.runs.journal import Entry, read_journal, read_start
from asc.runs.record import RunRecord, add, fold
from asc.tracking.content import run_key, updates
from asc.tracking.cursor import Cursor, load_cursor, save_cursor
from asc.tracking.registry import BestModel
from asc.tracking.store import MlflowStore
from asc.tracking.update import Update
from asc.tracking.view import view_of_search

_BATCH_ENTRIES = 500


class Shipper:
    """One connection to MLflow; not usable after its first failure."""

    def __init__(self, run_folder: Path, uri: str) -> None:
        """Connect to MLflow; the journal must have at least one event.

        Raises:
            one of asc.tracking.failures.failures(): MLflow cannot be reached, or refuses.
            InputError: there is no journal, it is empty, or it is damaged.
        """
        self._folder = run_folder
        journal = run_folder / JOURNAL
        start = read_start(journal)
        # Connect before the whole journal is read, because this is retried often while MLflow is down.
        self._store = MlflowStore(uri, run_key(fold([start] if start else [])))
        entries = read_journal(journal)
        cursor = load_cursor(run_folder, uri)
        if self._store.parent_run_id is None:
            cursor = Cursor(uri=uri)  # the database is new or was emptied: send everything again
        self._cursor = cursor
        sent = [entry for entry in entries if entry.end_offset <= cursor.offset]
        self._record: RunRecord | None = fold(sent) if sent else None
        self._has_view = False

    def ship(self) -> Iterator[int]:
        """Send everything after the cursor, in batches; yield the number of events of each batch.

        Raises:
            one of asc.tracking.failures.failures(): MLflow cannot be reached, or refuses; use this shipper no more.
        """
        pending = read_journal(self._folder / JOURNAL, self._cursor.offset)
        for start in range(0, len(pending), _BATCH_ENTRIES):
            entries = pending[start : start + _BATCH_ENTRIES]
            self._store.write([update for entry in entries for update in self._updates(entry)], self._folder)
            self._cursor = replace(
                self._cursor,
                offset=entries[-1].end_offset,
                experiment_id=self._store.experiment_id,
                parent_run_id=self._store.parent_run_id,
            )
            self._add_view()
            save_cursor(self._folder, self._cursor)
            yield len(entries)

    def model_to_publish(self) -> BestModel | None:
        """The best model of an ended run; None if there is none, or if this model and card were published last."""
        record, run_id = self._record, self._store.parent_run_id
        if record is None or record.ended is None or record.ended.best is None or run_id is None:
            return None
        file, card = self._folder / BEST_FOLDER / MODEL_FILE, self._folder / BEST_FOLDER / MODEL_CARD
        if not file.is_file():
            return None
        best = BestModel(
            run=record.started.name,
            run_key=run_key(record),
            run_id=run_id,
            trial=record.ended.best,
            data=file.read_bytes(),
            card=card.read_text("utf-8") if card.is_file() else "",
            register=record.started.kind == "search",
        )
        published = (self._cursor.model_digest, self._cursor.card_digest)
        return None if (best.digest, best.card_digest) == published else best

    def publish(self, best: BestModel) -> None:
        """Log the best model of the run in MLflow, and register that of a search. A second call only updates the card.

        Raises:
            one of asc.tracking.failures.failures(): MLflow cannot be reached, or refuses.
        """
        uri = self._store.publish(best)
        self._cursor = replace(self._cursor, model_digest=best.digest, card_digest=best.card_digest, model_uri=uri)
        save_cursor(self._folder, self._cursor)

    def _add_view(self) -> None:
        """Add the view of this search, once it has a trial."""
        if not self._has_view and self._record is not None and (view := view_of_search(self._record)):
            self._store.add_view(view)
            self._has_view = True

    def _updates(self, entry: Entry) -> Iterator[Update]:
        if self._record is None:
            self._record = fold([entry])
        else:
            add(self._record, entry)
        yield from updates(self._record, entry, self._folder)
