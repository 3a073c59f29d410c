"""Sending a journal in batches."""

import json

import pytest

from asc.errors import InputError
from asc.tracking.shipper import Shipper


def offset(script) -> int:
    return json.loads((script.folder / "mlflow.json").read_text())["offset"]


def test_the_cursor_moves_with_each_batch_and_nothing_is_sent_twice(script, database, monkeypatch):
    monkeypatch.setattr("asc.tracking.shipper._BATCH_ENTRIES", 2)
    script.started()
    script.trial("t000", "completed", 1.0)
    shipper = Shipper(script.folder, database)
    seen = [(events, offset(script)) for events in shipper.ship()]
    ends = [entry.end_offset for entry in script.journal.entries]
    assert seen == [(2, ends[1]), (2, ends[3]), (2, ends[5])]
    assert list(shipper.ship()) == []
    script.run_ended(best="t000")
    assert list(shipper.ship()) == [1]
    assert list(Shipper(script.folder, database).ship()) == []


def test_an_incomplete_line_is_not_sent_yet(script, database):
    script.started()
    with (script.folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"event": "TrialEn')
    assert list(Shipper(script.folder, database).ship()) == [1]


def test_a_run_that_never_started_is_refused(script, database):
    with pytest.raises(InputError, match="the journal is empty"):
        Shipper(script.folder, database)
