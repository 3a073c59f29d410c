"""A run's folder kept in a bucket as well: a background thread uploads what changed, and never holds up the run.

The folder on this machine is what the run works with; its journal stays the single truth (DESIGN, decision 7), and that
in the bucket is always a beginning of it. Checkpoints of a search's trials are uploaded by the workers themselves
(asc.search.cluster.workspace); here they are removed, once the journal in the bucket says that their trial has ended.

The journal is uploaded whole: one object that every reader finds whole, with nothing to be put together again. That
would cost ever more as it grows, so `_PAUSES` times the last upload passes before the next one: whatever its length, it
takes at most a tenth of the time and of the line.
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
from asc.runs.bucket import Bucket, StorageError, run_bucket, storage_option
from asc.runs.folder import KEPT_FILES, two_runs
from asc.runs.journal import Entry, Journal, RunRecord, TrialEnded, fold

_SHORTEST_PAUSE_S, _PAUSES = 1.0, 9
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """What the bucket still lacks of a run when its mirror was closed, and why (None: it has everything)."""

    missing: tuple[str, ...]
    problem: str | None


class _TakenOver(InputError):
    """Another process writes the same run."""


class Mirror:
    """Keeps one run's folder in its folder of a bucket; `heard` is a listener of the journal."""

    def __init__(self, journal: Journal, bucket: Bucket) -> None:
        """Nothing is opened yet."""
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
        """Catch up, then follow the run; both callbacks get sentences from the thread (errors as `catch_up`)."""
        self.catch_up()
        self._say, self._on_taken_over, self._warned = say, on_taken_over, False
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self._thread.start()

    def catch_up(self) -> None:
        """Upload what is there, and remove from the bucket what the journal does not need.

        Raises:
            StorageError: the bucket cannot be reached, or refuses.
            InputError: it holds another run of this name, or this one gone on elsewhere.
        """
        there = self._bucket.get(JOURNAL) or b""
        if not self._journal.path.read_bytes().startswith(there):
            raise two_runs(self._folder, self._bucket)
        self._sizes_there = {len(there)}
        self._end = self._journal.entries[-1].end_offset if self._journal.entries else 0
        self._upload()
        self._tidy()

    def heard(self, entry: Entry) -> None:
        """Take note of an entry. Cheap, never blocks."""
        if isinstance(entry.event, TrialEnded):
            self._ended.append((entry.end_offset, entry.event.trial))
        self._end = entry.end_offset
        self._wake.set()

    def close(self, drain_s: float = 20.0) -> Mirrored:
        """Upload what is left for at most `drain_s` seconds, then stop."""
        self._deadline_s = time.monotonic() + drain_s
        self._stop.set()
        self._wake.set()
        self._thread.join(drain_s)
        if self._taken_over:
            return Mirrored(missing=(), problem=None)  # all has been said, and nothing is to be sent
        missing = [name for name in KEPT_FILES if self._signature(name) != self._sent.get(name)]
        missing += [JOURNAL] if self._uploaded < self._end else []
        problem = self._problem or f"{self._bucket} is slow: {drain_s:.0f} s were not enough"
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
            self._problem = f"keeping the run in {self._bucket} failed ({said})"
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
        """Files first, then the journal that speaks of them, then what it no longer needs is removed."""
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

        A lock on a file holds between processes of one machine only. Between machines the size of what lies there has
        to do: when it is not what was written here, somebody else writes, and of two who do so one always notices.
        """
        if end == self._uploaded:
            return
        size = self._bucket.size_bytes(JOURNAL)
        if size is not None and size not in self._sizes_there:
            raise _TakenOver(
                f"{self._bucket} is written by another process as well: leave the run to that one, or stop it and move "
                f"away the one of {self._folder} and that folder that you do not want"
            )
        with self._journal.path.open("rb") as file:
            data = file.read(end)
        self._sizes_there.add(end)  # even if no answer comes back, it may have been written
        self._bucket.put(JOURNAL, data)
        self._sizes_there, self._uploaded = {end}, end

    def _tidy(self) -> None:
        """Remove what no run needs that goes on from the journal, also what was written after a trial's end."""
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
            return None  # removed since

    def _pause(self, pause_s: float, stopping: bool) -> None:
        if stopping:
            time.sleep(max(0.0, min(_FIRST_PAUSE_S, self._deadline_s - time.monotonic())))
        else:
            self._stop.wait(pause_s)

    def _tell_once(self, error: StorageError) -> None:
        self._problem = str(error)
        if not self._warned:
            self._say(f"{error}; the run goes on, and is brought up to date there when that is over")
        self._warned = True


def _is_checkpoint_of_no_use(name: str, record: RunRecord) -> bool:
    """Whether an object is of a trial that ended or that the journal never asked; a completed one keeps its model."""
    top, _, rest = name.partition("/")
    trial, _, file = rest.partition("/")
    if top != TRIALS_FOLDER:
        return False
    known = record.trials.get(trial)
    if known is None or known.ended is None:
        return known is None
    return not (known.ended.outcome == "completed" and file == MODEL_FILE)


@contextmanager
def mirrored(
    journal: Journal, say: Callable[[str], None], *, on_taken_over: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Keep a run in its bucket while it is under way; nothing where its folder is all there is of it.

    Where another process turns out to write the same run, `on_taken_over` gets a sentence that says so; without it this
    process is interrupted as by Ctrl-C.

    Raises:
        StorageError: the bucket cannot be reached at the start, or refuses.
        InputError: it holds another run of this name, or this one gone on elsewhere.
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
                f"{left.problem}; of {folder} is still to be sent {', '.join(left.missing) or 'what to remove'}: "
                f"{send_command(folder)}"
            )


def send(run_folder: Path, bucket: Bucket) -> None:
    """Send now what a bucket lacks of a run that no process is running (errors as `Mirror.catch_up`).

    Raises:
        InputError: a process is running it, or its journal is damaged.
    """
    journal = Journal(run_folder / JOURNAL)
    try:
        Mirror(journal, bucket).catch_up()
    finally:
        journal.close()


def send_command(run_folder: Path) -> str:
    """What a person types to send later what a bucket lacks of a run."""
    return f"{command('track')} {shlex.quote(run_folder.name)}{storage_option(run_folder)}"


def _interrupted(say: Callable[[str], None]) -> Callable[[str], None]:
    def interrupt(sentence: str) -> None:
        say(sentence)
        _thread.interrupt_main()

    return interrupt
