"""MLflow tracking: a background thread sends the journal, survives outages, and never delays the run.

The journal on disk is the queue. Events that could not be sent, because the server was down or the driver was killed,
are sent when it is back, or later by launch/track.py (DESIGN, decision 8).
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from asc.errors import InputError, machine_fault
from asc.run_files import JOURNAL, MLFLOW_LOCK
from asc.runs.journal import read_journal, read_start
from asc.tracking.address import check_uri, send_command
from asc.tracking.cursor import load_cursor
from asc.tracking.tracker import Shipped

if TYPE_CHECKING:
    from asc.tracking.shipper import Shipper

_GATHER_S = 0.2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0


class MlflowTracker:
    """Sends one run's journal from a daemon thread. The thread reads the file itself; `notify` only wakes it."""

    def __init__(self, run_folder: Path, *, uri: str, on_warning: Callable[[str], None]) -> None:
        """Open nothing yet. `on_warning` is called with messages, from the thread.

        Raises:
            InputError: the form of the URI is wrong.
        """
        check_uri(uri)
        self._folder, self._uri, self._warn = run_folder, uri, on_warning
        self._wake, self._stop = threading.Event(), threading.Event()
        self._deadline_s = float("inf")
        self._sent = 0
        self._problem: str | None = None
        self._warned: set[str] = set()
        self._refused: set[str] = set()
        self._model_waits = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)

    def start(self) -> None:
        """Start the thread, which begins with what is already in the journal.

        Raises:
            InputError: another process is sending this run's events.
        """
        self._lock = locked(self._folder)
        self._thread.start()

    def notify(self) -> None:
        """Say that the journal has grown."""
        self._wake.set()

    def close(self, drain_s: float = 20.0) -> Shipped:
        """Send the rest for at most `drain_s` seconds, then stop.

        A damaged journal, or another error that ended the thread, is returned as the problem and not raised, so that
        the result of the run is not lost. The thread has already printed the traceback of a fault of asc.
        """
        self._deadline_s = time.monotonic() + drain_s
        self._stop.set()
        self._wake.set()
        self._thread.join(drain_s)
        try:
            pending = _pending(self._folder, self._uri)
        except InputError as error:
            self._error, pending = self._error or error, 0
        if self._error is not None:
            said = f"{type(self._error).__name__}: {self._error}"
            problem = f"sending to MLflow at {self._uri} failed ({machine_fault(self._error) or said})"
            return Shipped(events=self._sent, pending=0, problem=problem)
        problem = self._problem or f"MLflow at {self._uri} is slow: sending did not end within {drain_s:.0f} s"
        waits = self._model_waits
        return Shipped(
            events=self._sent, pending=pending, problem=problem if pending or waits else None, model_waits=waits
        )

    def _run(self) -> None:
        try:
            with self._lock:
                self._loop()
        except Exception as error:
            self._error = error
            if not isinstance(error, InputError) and machine_fault(error) is None:
                raise

    def _loop(self) -> None:
        _prepare_environment()
        # Imported in the thread, because importing MLflow takes seconds.
        from asc.tracking.failures import failures, is_refusal, problem
        from asc.tracking.shipper import Shipper

        shipper: Shipper | None = None
        pause_s = _FIRST_PAUSE_S
        while True:
            self._wake.clear()
            stopping = self._stop.is_set()
            try:
                if shipper is None and read_start(self._folder / JOURNAL) is not None:
                    shipper = Shipper(self._folder, self._uri)
                if shipper is not None:
                    self._ship(shipper)
                    self._publish(shipper)
            except failures() as error:
                shipper = None
                self._problem = problem(self._uri, error)
                self._tell_once(self._problem if is_refusal(error) else "")
                if stopping and (is_refusal(error) or self._late()):
                    return
                self._pause(pause_s, stopping)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                if stopping:
                    return
                self._problem, pause_s = None, _FIRST_PAUSE_S
                self._wake.wait()
                self._stop.wait(_GATHER_S)

    def _ship(self, shipper: "Shipper") -> None:
        for events in shipper.ship():
            self._sent += events
            if self._late():
                return

    def _publish(self, shipper: "Shipper") -> None:
        """Log the best model after all events; if MLflow refuses the model, warn and do not try it again."""
        from asc.tracking.failures import failures, is_refusal, problem

        best = shipper.model_to_publish()
        if best is None or best.digest in self._refused:
            return
        self._model_waits = True
        if self._late():
            return
        try:
            shipper.publish(best)
        except failures() as error:
            if not is_refusal(error):
                raise
            self._refused.add(best.digest)
            self._warn(
                f"{problem(self._uri, error, what='the model')}; the run's events and files were sent; send the model "
                f"again with `{send_command(self._folder, self._uri)}`"
            )
        self._model_waits = False

    def _late(self) -> bool:
        return time.monotonic() >= self._deadline_s

    def _pause(self, pause_s: float, stopping: bool) -> None:
        if stopping:
            time.sleep(max(0.0, min(_FIRST_PAUSE_S, self._deadline_s - time.monotonic())))
        else:
            self._stop.wait(pause_s)

    def _tell_once(self, refusal: str) -> None:
        """Warn of the first outage, and of each new refusal message."""
        if refusal in self._warned:
            return
        self._warned.add(refusal)
        self._warn(
            f"{self._problem}; the run goes on, its events are kept in {self._folder / 'journal.jsonl'} and are sent "
            f"when it answers, or later by `{send_command(self._folder, self._uri)}`"
        )


def send_journal(run_folder: Path, *, uri: str) -> Shipped:
    """Send the unsent events of a run and its best model now, in this thread, in one attempt.

    Raises:
        InputError: the URI is malformed, the run does not exist, its journal is damaged, or another process sends it.
    """
    check_uri(uri)
    read_journal(run_folder / JOURNAL)
    with locked(run_folder):
        return send_locked(run_folder, uri=uri)


def send_locked(run_folder: Path, *, uri: str) -> Shipped:
    """Send what `send_journal` sends, for a caller that holds the lock of the run (`locked`).

    Raises:
        InputError: the journal is damaged.
    """
    _prepare_environment()
    from asc.tracking.failures import failures, problem
    from asc.tracking.shipper import Shipper

    sent, best = 0, None
    try:
        shipper = Shipper(run_folder, uri)
        for events in shipper.ship():
            sent += events
        best = shipper.model_to_publish()
        if best is not None:
            shipper.publish(best)
    except failures() as error:
        said = problem(uri, error, what="the events" if best is None else "the model")
        return Shipped(events=sent, pending=_pending(run_folder, uri), problem=said, model_waits=best is not None)
    return Shipped(events=sent, pending=0, problem=None)


def _pending(run_folder: Path, uri: str) -> int:
    offset = load_cursor(run_folder, uri).offset
    return len(read_journal(run_folder / JOURNAL, offset))


def locked(run_folder: Path) -> IO[bytes]:
    """Lock the sending of this run's events; closing the returned file releases the lock.

    Raises:
        InputError: another process sends them.
    """
    file = (run_folder / MLFLOW_LOCK).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise InputError(
            f"{run_folder} is being sent to MLflow by another process: wait for that one, it sends every event"
        ) from error
    return file


def _prepare_environment() -> None:
    """Set MLflow's defaults unless the user has set them: short timeouts (we retry ourselves), quiet, no telemetry.

    MLflow's log of failed database writes, a traceback each, is switched off, because our own message reports them.
    """
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    defaults = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",  # else MLflow goes on with a database that was replaced
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_UV_AUTO_DETECT": "false",  # a model needs the packages that asc pins, not those of the current folder
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # MLflow reads its level when it is imported, which may have been before.
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])
