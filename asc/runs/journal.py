"""The journal of a run: append-only JSON lines, each flushed to disk. It is the only source of truth about the run.

Leaderboard, live view, MLflow and resume all read it. If a process died while it wrote the last line, that line is
dropped when the journal is opened again; a damaged line anywhere else is an error.
"""

import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asc.errors import InputError
from asc.runs.events import EVENT_KINDS, Event
from asc.typed import build


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event with its time in seconds since 1970 (UTC) and the byte offset at which its line ends."""

    time_s: float
    event: Event
    end_offset: int


class Journal:
    """The journal of one run, open for appending; only one process at a time can open it."""

    def __init__(self, path: Path) -> None:
        """Open or create the journal, read its entries, and cut off a half-written last line.

        Raises:
            InputError: another process has it open, or a line is damaged (the message names the line).
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.listeners: list[Callable[[Entry], None]] = []
        self.failure: OSError | None = None
        # Unbuffered: otherwise data that a failed write left in a buffer could be written later, unknown to `append`.
        self._file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.entries = list(read_journal(path))
        except BlockingIOError as error:
            self._file.close()
            raise InputError(
                f"{path} is in use: another process is running {path.parent.name}; wait for it or stop it"
            ) from error
        except InputError:
            self._file.close()
            raise
        self._end = self.entries[-1].end_offset if self.entries else 0
        self._file.truncate(self._end)

    def append(self, event: Event) -> Entry:
        """Write an event to disk, then call the listeners.

        Raises:
            OSError: the disk is full or gone; the event is not in the journal, and earlier events stay intact.
            ValueError: a number in the event is not finite; nothing is written.
        """
        now = time.time()
        line = json.dumps({"event": type(event).__name__, "time_s": now, **dataclasses.asdict(event)}, allow_nan=False)
        try:
            self._write(line.encode() + b"\n")
        except OSError as error:
            self.failure = OSError(error.errno, error.strerror, str(self.path))
            raise self.failure from error
        entry = Entry(time_s=now, event=event, end_offset=self._end)
        self.entries.append(entry)
        for listener in self.listeners:
            listener(entry)
        return entry

    def _write(self, data: bytes) -> None:
        """Write all of the data to disk, or nothing: a write cut short by a full disk or an interrupt is undone."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
            self._end += len(data)
        finally:
            self._file.truncate(self._end)

    def close(self) -> None:
        """Close the file and release its lock."""
        self._file.close()


def read_journal(path: Path, offset: int = 0) -> tuple[Entry, ...]:
    """The entries of a journal from a byte offset on, without a half-written last line.

    Raises:
        InputError: the file does not exist or cannot be read, or a line is damaged.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except OSError as error:
        raise _unreadable(path, error) from error
    entries, position = [], offset
    *whole, _ = data.split(b"\n")  # after the last newline there is nothing, or a half-written line
    for line in whole:
        entries.append(_decoded(line, path, position))
        position = entries[-1].end_offset
    return tuple(entries)


def read_start(path: Path) -> Entry | None:
    """The first entry of a journal, read without the others; None if the journal has none yet.

    Raises:
        InputError: the file does not exist or cannot be read, or the line is damaged.
    """
    try:
        with path.open("rb") as file:
            line = file.readline()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _decoded(line[:-1], path, 0) if line.endswith(b"\n") else None


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror}): give the name of a run that exists")


def _decoded(line: bytes, path: Path, position: int) -> Entry:
    """Decode a line that begins at byte `position` of the journal."""
    try:
        tree: dict[str, Any] = json.loads(line)
        event = build(EVENT_KINDS[tree.pop("event")], {k: v for k, v in tree.items() if k != "time_s"})
        return Entry(time_s=float(tree["time_s"]), event=event, end_offset=position + len(line) + 1)
    except (InputError, ValueError, KeyError, TypeError, AttributeError) as error:
        number = path.read_bytes().count(b"\n", 0, position) + 1
        raise InputError(
            f"{path}, line {number} is damaged, or written by another version of asc ({error}): restore the file from "
            "a copy, or start a new run"
        ) from error
