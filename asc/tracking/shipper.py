"""Sends a journal to MLflow from where it was left: the journal, the cursor and what MLflow has are all its state.

After any failure a shipper is thrown away and another one made, so no state has to survive an error.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from asc.journal import Entry, RunRecord, add, fold, read_journal, read_start
from asc.tracking.content import Update, run_key, updates
from asc.tracking.cursor import load_cursor, save_cursor
from asc.tracking.store import MlflowStore

_BATCH_ENTRIES = 500


class Shipper:
    """One connection, good until its first failure."""

    def __init__(self, run_folder: Path, uri: str) -> None:
        """Connect for a journal that has at least its first event.

        Raises:
            asc.tracking.store.FAILURES: MLflow cannot be reached, or refuses.
            InputError: there is no journal, it is empty, or it is damaged.
        """
        self._folder = run_folder
        journal = run_folder / "journal.jsonl"
        start = read_start(journal)
        # Connect before all is read: while MLflow is away this is tried again and again.
        self._store = MlflowStore(uri, run_key(fold([start] if start else [])))
        entries = read_journal(journal)
        cursor = load_cursor(run_folder, uri)
        if self._store.parent_run_id is None:
            cursor = replace(cursor, offset=0)  # the database is new, or was emptied: all is to be sent again
        self._cursor = cursor
        sent = [entry for entry in entries if entry.end_offset <= cursor.offset]
        self._record: RunRecord | None = fold(sent) if sent else None

    def ship(self) -> Iterator[int]:
        """Send all that the journal holds beyond the cursor; yields the number of events after each batch.

        Raises:
            asc.tracking.store.FAILURES: MLflow cannot be reached, or refuses; this shipper is then of no more use.
        """
        pending = read_journal(self._folder / "journal.jsonl", self._cursor.offset)
        for start in range(0, len(pending), _BATCH_ENTRIES):
            entries = pending[start : start + _BATCH_ENTRIES]
            self._store.write([update for entry in entries for update in self._updates(entry)], self._folder)
            self._cursor = replace(
                self._cursor,
                offset=entries[-1].end_offset,
                experiment_id=self._store.experiment_id,
                parent_run_id=self._store.parent_run_id,
            )
            save_cursor(self._folder, self._cursor)
            yield len(entries)

    def _updates(self, entry: Entry) -> Iterator[Update]:
        if self._record is None:
            self._record = fold([entry])
        else:
            add(self._record, entry)
        yield from updates(self._record, entry, self._folder)
