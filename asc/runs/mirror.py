"""Copies a run's folder to a bucket: a background thread uploads what has changed and never delays the run.

The run works in the local folder. Its local journal stays the only source of truth (DESIGN, decision 7); the journal in
the bucket is always a prefix of it. The workers of a search upload the checkpoints of their trials themselves
(asc.search.cluster.workspace). This module removes them once the journal in the bucket says that the trial has ended.

The journal is uploaded as one object, so that every reader finds it complete. Uploads get slower as it grows, so the
pause after each one is `_PAUSES` times as long as the upload took. Uploads thus take at most a tenth of the time,
whatever the length of the journal.
"""

import _thread
import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from asc.errors import InputError, machine_fault
from asc.launchers import command
from asc.run_files import BEST_EPOCH, JOURNAL, LAST_EPOCH, MODEL_FILE, TRIALS_FOLDER
from asc.runs.bucket import Bucket, StorageError
from asc.runs.events import TrialEnded
from asc.runs.folder import KEPT_FILES, two_runs
from asc.runs.journal import Entry, Journal
from asc.runs.record import RunRecord, fold
from asc.runs.storage import run_bucket, storage_option

_SHORTEST_PAUSE_S, _PAUSES = 1.0, 9
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """The files that the bucket still lacked when the mirror was closed, and why (None: nothing is left to do)."""

    missing: tuple[str, ...]
    problem: str | None


class _TakenOver(InputError):
    """Another process writes to the same run in the bucket."""


class Mirror:
    """Copies the folder of one run to a bucket folder; add `heard` to the listeners of the journal."""

    def __init__(self, journal: Journal, bucket: Bucket) -> None:
        """Open nothing yet; `start` does."""
        self._journal, self._folder, self._bucket = journal, journal.path.parent, bucket
        self._end = self._uploaded = 0
        self._sizes_there: set[int] = set()
        self._sent: dict[str, tuple[int, ...]] = {}
        self._ended: deque[tuple[int, str]] = deque()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._deadline_s = float("inf")
        self._problem: str | None = None
        self._taken_over = False

    def start(self, say: Callable[[str], None], on_taken_over: Callable[[str], None]) -> None:
        """Catch up, then follow the run in a thread, which passes messages to the callbacks. Raises as `catch_up`."""
        self.catch_up()
        self._say, self._on_taken_over, self._warned = say, on_taken_over, False
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self._thread.start()

    def catch_up(self) -> None:
        """Upload the current files, and remove from the bucket what a resume would not need.

        Raises:
            StorageError: the bucket cannot be reached, or refuses access.
            InputError: the bucket holds another run of this name, or this run was continued elsewhere.
        """
        there = self._bucket.get(JOURNAL) or b""
        if not self._journal.path.read_bytes().startswith(there):
            raise two_runs(self._folder, self._bucket)
        self._sizes_there = {len(there)}
        self._end = self._journal.entries[-1].end_offset if self._journal.entries else 0
        self._upload()
        self._tidy()

    def heard(self, entry: Entry) -> None:
        """Note a new journal entry. Cheap; never blocks."""
        if isinstance(entry.event, TrialEnded):
            self._ended.append((entry.end_offset, entry.event.trial))
        self._end = entry.end_offset
        self._wake.set()

    def close(self, drain_s: float = 20.0) -> Mirrored:
        """Upload the rest for at most `drain_s` seconds, then stop; return what is still missing."""
        self._deadline_s = time.monotonic() + drain_s
        self._stop.set()
        self._wake.set()
        self._thread.join(drain_s)
        if self._taken_over:
            return Mirrored(missing=(), problem=None)  # the user was told, and nothing may be sent
        missing = [name for name in KEPT_FILES if self._signature(name) != self._sent.get(name)]
        missing += [JOURNAL] if self._uploaded < self._end else []
        problem = self._problem or f"{self._bucket} is slow: the upload did not end within {drain_s:.0f} s"
        whole = not missing and self._problem is None and not self._thread.is_alive()
        return Mirrored(missing=tuple(missing), problem=None if whole else problem)

    def _run(self) -> None:
        try:
            self._loop()
        except _TakenOver as error:
            self._taken_over = True
            self._on_taken_over(str(error))
        except Exception as error:
            fault = machine_fault(error)
            said = fault or f"{type(error).__name__}: {error}"
            self._problem = f"copying the run to {self._bucket} failed ({said})"
            if fault is None and not isinstance(error, InputError):
                raise

    def _loop(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            self._wake.clear()
            stopping, started_s = self._stop.is_set(), time.monotonic()
            try:
                self._upload()
                if stopping:
                    self._tidy()
            except StorageError as error:
                self._tell_once(error)
                if stopping and time.monotonic() >= self._deadline_s:
                    return
                self._pause(pause_s, stopping)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                self._problem, pause_s = None, _FIRST_PAUSE_S
                if stopping:
                    return
                took_s = time.monotonic() - started_s
                self._wake.wait()
                self._stop.wait(max(_SHORTEST_PAUSE_S, _PAUSES * took_s))

    def _upload(self) -> None:
        """Upload the files, then the journal that refers to them, then remove what the journal no longer needs."""
        end = self._end
        changed = [(name, there, self._read(name)) for name in KEPT_FILES if (there := self._changed(name))]
        for name, signature, data in reversed(changed):
            if data is not None:
                self._bucket.put(name, data)
                self._sent[name] = signature
        self._upload_journal(end)
        for name in [name for name in self._sent if self._signature(name) is None]:
            self._bucket.remove(name)
            del self._sent[name]
        while self._ended and self._ended[0][0] <= end:
            for name in (LAST_EPOCH, BEST_EPOCH):
                self._bucket.at(TRIALS_FOLDER, self._ended[0][1]).remove(name)
            self._ended.popleft()

    def _upload_journal(self, end: int) -> None:
        """Upload the journal up to byte `end`.

        A file lock works only between processes of one machine. Between machines, the size of the journal in the bucket
        has to serve: if it is not a size that this process wrote, another process writes too. Of two such processes, at
        least one always notices.
        """
        if end == self._uploaded:
            return
        size = self._bucket.size_bytes(JOURNAL)
        if size is not None and size not in self._sizes_there:
            raise _TakenOver(
                f"another process writes to {self._bucket}: leave the run to that process, or stop it and "
                f"move away either that folder or {self._folder}"
            )
        with self._journal.path.open("rb") as file:
            data = file.read(end)
        self._sizes_there.add(end)  # it may be written even if no answer comes back
        self._bucket.put(JOURNAL, data)
        self._sizes_there, self._uploaded = {end}, end

    def _tidy(self) -> None:
        """Remove what a resume from the journal would not need, also files written after the end of their trial."""
        record = fold(self._journal.entries)
        for name in self._bucket.sizes():
            if _is_checkpoint_of_no_use(name, record) or (name in KEPT_FILES and self._signature(name) is None):
                self._bucket.remove(name)

    def _changed(self, name: str) -> tuple[int, ...] | None:
        signature = self._signature(name)
        return None if signature == self._sent.get(name) else signature

    def _signature(self, name: str) -> tuple[int, ...] | None:
        """A value that changes whenever the file is replaced; None if there is no file."""
        try:
            status = (self._folder / name).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None  # it has been removed

    def _pause(self, pause_s: float, stopping: bool) -> None:
        if stopping:
            time.sleep(max(0.0, min(_FIRST_PAUSE_S, self._deadline_s - time.monotonic())))
        else:
            self._stop.wait(pause_s)

    def _tell_once(self, error: StorageError) -> None:
        self._problem = str(error)
        if not self._warned:
            self._say(f"{error}; the run goes on, and its copy there is updated when the bucket can be used again")
        self._warned = True


def _is_checkpoint_of_no_use(name: str, record: RunRecord) -> bool:
    """Whether an object belongs to an ended or unknown trial and may go; the model of a completed trial is kept."""
    top, _, rest = name.partition("/")
    trial, _, file = rest.partition("/")
    if top != TRIALS_FOLDER:
        return False
    known = record.find(trial)
    if known is None or known.ended is None:
        return known is None
    return not (known.ended.outcome == "completed" and file == MODEL_FILE)


@contextmanager
def mirrored(
    journal: Journal, say: Callable[[str], None], *, on_taken_over: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Copy a run to its bucket while it runs; do nothing for local-only runs.

    If another process writes the same run, `on_taken_over` is called with a message; without that callback this process
    is interrupted as by Ctrl-C.

    Raises:
        StorageError: the bucket cannot be reached at the start, or refuses access.
        InputError: the bucket holds another run of this name, or this run was continued elsewhere.
    """
    folder = journal.path.parent
    bucket = run_bucket(folder)
    if bucket is None:
        yield
        return
    mirror = Mirror(journal, bucket)
    mirror.start(say, on_taken_over or _interrupted(say))
    journal.listeners.append(mirror.heard)
    try:
        yield
    finally:
        left = mirror.close()
        if left.problem is not None:
            say(
                f"{left.problem}; still to do for {folder}: {', '.join(left.missing) or 'removing old files'}; "
                f"finish with: {send_command(folder)}"
            )


def send(run_folder: Path, bucket: Bucket) -> None:
    """Send now what a bucket lacks of a run. Raises as `Mirror.catch_up` does.

    Raises:
        InputError: a process is still running it, or its journal is damaged.
    """
    journal = Journal(run_folder / JOURNAL)
    try:
        Mirror(journal, bucket).catch_up()
    finally:
        journal.close()


def send_command(run_folder: Path) -> str:
    """The command line that sends what a bucket lacks of a run."""
    return f"{command('track')} {shlex.quote(run_folder.name)}{storage_option(run_folder)}"


def _interrupted(say: Callable[[str], None]) -> Callable[[str], None]:
    def interrupt(sentence: str) -> None:
        say(sentence)
        _thread.interrupt_main()

    return interrupt
