"""The journal of a run: writing, reading and locking it, and surviving damage."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import typing
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from journals import STARTED, asked, ended, epoch, written

from asc.errors import InputError
from asc.results import SplitFigures, StoredSize, TeacherNetwork
from asc.runs.events import (
    EarlierPoint,
    Event,
    FinalAsked,
    FinalConfirmed,
    FinalistsChosen,
    PointRefused,
    RunEnded,
    RungReached,
    RunResumed,
    RunStarted,
    SoftLabelsMade,
    TeacherAsked,
    TrialEnded,
    TrialPromoted,
    TrialRetried,
)
from asc.runs.journal import Entry, Journal, read_journal, read_start
from asc.runs.record import fold

EVENTS: tuple[Event, ...] = (
    STARTED,
    RunStarted(name="r", kind="train", settings={}, git_commit="0" * 40, space="schema = 1\n\u00e4\r\n"),
    dataclasses.replace(STARTED, earlier=(EarlierPoint(run="night", trial="t005", point={"a": 1.5, "b": "[2, 1]"}),)),
    RunResumed(settings={"trials": 9}),
    PointRefused(point={"a": 1}, reason="too \u201clarge\u201d", twin=None),
    PointRefused(point={}, reason="the same as t000", twin="t000"),
    asked("t000"),
    dataclasses.replace(asked("t001"), point=None, reference=True),
    epoch("t000", 1),
    TrialRetried(trial="t001", epoch=2, reason="its worker process died"),
    RungReached(trial="t000", epoch=4, log_loss=1.25, stopped=True),
    RungReached(trial="t000", epoch=4, log_loss=1.25, stopped=False, paused=True),
    TrialPromoted(trial="t000", epoch=4),
    ended("t000", 1.5),
    TrialEnded(trial="t001", outcome="failed", epochs=0, seconds=0.0, reason="RuntimeError: out of memory\nand more"),
    FinalistsChosen(trials=("t000", "t001"), seeds=(1, 2), cycles=3, epochs_per_cycle=120),
    TeacherAsked(
        teacher="teacher-seed1",
        trial="t000",
        title="teacher-seed1 w240 512.0 KB",
        seed=1,
        config={"seed": 1},
        size=StoredSize(parameters=1, size_bytes=2, nonzero_parameters=3, nonzero_bytes=4, file_bytes=5),
        macs_per_second=6,
        peak_activation_bytes=7,
    ),
    SoftLabelsMade(
        teachers=(TeacherNetwork(name="t000", kilobytes=61.5), TeacherNetwork(name="outside")), digest="ab", clips=9
    ),
    FinalAsked(final="t000-seed1", trial="t000", title="t000-seed1 w24", seed=1, config={"seed": 1}),
    FinalAsked(final="t000-seed2", trial="t000", title="w24", seed=2, config={"seed": 2}, soft_labels="ab"),
    FinalConfirmed(
        final="t000-seed1", figures=SplitFigures(split="calibration", clips=24, log_loss=1.25, accuracy=0.5)
    ),
    RunEnded(outcome="interrupted", best=None),
    RunEnded(outcome="finished", best="t000"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "journal.jsonl"


def test_every_event_round_trips(path: Path) -> None:
    assert {type(event) for event in EVENTS} == set(typing.get_args(Event)), "a new event needs a line above"
    entries = written(path, *EVENTS)
    assert [entry.event for entry in read_journal(path)] == list(EVENTS)
    assert list(read_journal(path)) == entries
    assert path.read_bytes().count(b"\n") == len(EVENTS)
    again = Journal(path)
    assert again.entries == entries
    again.close()


def test_reading_can_start_after_any_entry(path: Path) -> None:
    entries = written(path, *EVENTS)
    for number, entry in enumerate(entries, start=1):
        assert list(read_journal(path, entry.end_offset)) == entries[number:]
    assert entries[-1].end_offset == path.stat().st_size
    assert read_start(path) == entries[0]


def test_listeners_are_called_once_the_entry_is_on_disk(path: Path) -> None:
    journal = Journal(path)
    heard: list[tuple[Entry, int]] = []
    journal.listeners.append(lambda entry: heard.append((entry, len(read_journal(path)))))
    entries = [journal.append(event) for event in EVENTS[:3]]
    journal.close()
    assert heard == [(entry, number) for number, entry in enumerate(entries, start=1)]
    assert journal.entries == entries


def test_an_incomplete_last_line_is_dropped_wherever_it_was_cut(path: Path) -> None:
    entries = written(path, STARTED, asked("t000"), epoch("t000", 1))
    whole = path.read_bytes()
    for size in range(entries[1].end_offset, len(whole)):
        path.write_bytes(whole[:size])
        assert list(read_journal(path)) == entries[:2]
        journal = Journal(path)
        entry = journal.append(RunEnded(outcome="interrupted", best=None))
        journal.close()
        assert path.read_bytes()[: entries[1].end_offset] == whole[: entries[1].end_offset]
        assert read_journal(path)[2:] == (entry,)
        assert entry.end_offset == path.stat().st_size


def test_an_incomplete_first_line_leaves_an_empty_journal(path: Path) -> None:
    written(path, STARTED)
    path.write_bytes(path.read_bytes()[:-1])
    journal = Journal(path)
    assert journal.entries == [] and path.stat().st_size == 0
    journal.close()
    with pytest.raises(InputError, match="the journal is empty"):
        fold(journal.entries)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"null",
        b"[1]",
        b"\xff\xfe",
        b'{"event": "Unheard", "time_s": 1}',
        b'{"event": ["RunEnded"], "time_s": 1}',
        b'{"event": "RunEnded", "outcome": "finished", "best": null}',
        b'{"event": "RunEnded", "time_s": 1, "outcome": "finished"}',
        b'{"event": "RunEnded", "time_s": 1, "outcome": "done", "best": null}',
        b'{"event": "RunEnded", "time_s": 1, "outcome": "finished", "best": null, "extra": 1}',
        b'{"event": "RungReached", "time_s": 1, "trial": "t", "epoch": 1, "log_loss": NaN, "stopped": true}',
        b'{"event": "RunEnded"\r',
        b'{"event": "RunEnded"\x00\x85\x0b\x0c\r\r',
    ],
)
def test_a_damaged_line_in_the_middle_is_named_and_the_file_is_not_changed(path: Path, damage: bytes) -> None:
    entries = written(path, STARTED, asked("t000"))
    first, second, _ = path.read_bytes().split(b"\n")
    damaged = b"\n".join((first, damage, second, b""))
    path.write_bytes(damaged)
    for attempt in (lambda: read_journal(path), lambda: Journal(path)):
        with pytest.raises(InputError) as caught:
            attempt()
        assert f"{path}, line 2 is damaged" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="line 2 is damaged"):
        read_journal(path, entries[0].end_offset)
    assert path.read_bytes() == damaged
    path.write_bytes(b"\n".join((first, second, b"")))
    Journal(path).close()


def test_a_missing_journal_cannot_be_read(path: Path, tmp_path: Path) -> None:
    for wrong in (path, tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_journal(wrong)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused_and_nothing_is_written(path: Path, number: float) -> None:
    entries = written(path, STARTED)
    journal = Journal(path)
    with pytest.raises(ValueError):
        journal.append(RungReached(trial="t", epoch=1, log_loss=number, stopped=False))
    journal.close()
    assert list(read_journal(path)) == journal.entries == entries


def test_a_journal_cannot_be_opened_again_until_it_is_closed(path: Path) -> None:
    first = Journal(path)
    first.append(STARTED)
    with pytest.raises(InputError, match=r"journal.jsonl is in use: another process is running run; wait for it"):
        Journal(path)
    first.append(RunResumed(settings={}))
    first.close()
    second = Journal(path)
    assert len(second.entries) == 2
    second.close()


HOLDER = """
import sys
from pathlib import Path
from asc.runs.events import RunStarted
from asc.runs.journal import Journal
journal = Journal(Path(sys.argv[1]))
journal.append(RunStarted(name="r", kind="train", settings={}))
print("held", flush=True)
sys.stdin.read()
"""


def test_killing_a_process_releases_its_journal(path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="is in use"):
            Journal(path)
        assert len(read_journal(path)) == 1, "reading needs no lock"
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    journal = Journal(path)
    assert isinstance(journal.append(RunResumed(settings={})).event, RunResumed)
    journal.close()
    assert len(read_journal(path)) == 2


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_full_disk_leaves_the_journal_intact(
    path: Path, room: int, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    journal = Journal(path)
    entries = [journal.append(STARTED), journal.append(asked("t000"))]
    whole = path.read_bytes()
    with file_size_limit(len(whole) + room):
        for _ in range(2):
            with pytest.raises(OSError):
                journal.append(epoch("t000", 1))
            assert path.read_bytes() == whole
            assert journal.entries == entries
    entries.append(journal.append(epoch("t000", 2)))
    journal.close()
    assert list(read_journal(path)) == entries, "once there is space, the journal continues on a new line"
    assert path.stat().st_size == entries[-1].end_offset


def test_lines_are_plain_json_with_the_event_and_its_time(path: Path) -> None:
    (entry,) = written(path, STARTED)
    tree = json.loads(path.read_text())
    assert tree["event"] == "RunStarted" and tree["time_s"] == entry.time_s and tree["settings"] == STARTED.settings
