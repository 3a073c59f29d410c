"""Lists the runs of a storage from their journals: data, limit, best figures, state, size."""

import dataclasses
import fcntl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asc.config.data_choice import DataChoice
from asc.console.sheet import Sheet
from asc.errors import InputError
from asc.run_files import JOURNAL
from asc.runs.bucket import Bucket
from asc.runs.journal import read_journal
from asc.runs.named import RUNS
from asc.runs.record import RunRecord, fold
from asc.runs.storage import bucket_of, runs_folder
from asc.typed import build

State = Literal["running", "finished", "interrupted", "not ended", "damaged"]
"""`not ended`: its process was killed, or (in a bucket) may still run. `damaged`: its journal cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it is listed. `problem` says why its journal cannot be read; the fields that follow from it are None.

    `best_log_loss` (nats) and `best_accuracy` (0 to 1) are of the best completed trial on validation.
    """

    name: str
    state: State
    size_bytes: int
    kind: str | None = None
    data: str | None = None
    budget_kb: float | None = None
    trials: int = 0
    completed: int = 0
    best_trial: str | None = None
    best_log_loss: float | None = None
    best_accuracy: float | None = None
    began_s: float | None = None
    problem: str | None = None


def runs_of(storage: str) -> list[Run]:
    """The runs of a folder or bucket, the latest first; those whose journal is damaged come last.

    Raises:
        InputError: there is no such folder. (Only the usual one, `runs`, need not exist.)
        StorageError: the bucket cannot be reached, or refuses access.
    """
    bucket = bucket_of(storage)
    folder = runs_folder(storage)
    if bucket is None and not folder.is_dir() and (folder.exists() or storage != str(RUNS)):
        raise InputError(f"{storage} is no folder: give --storage the folder in which the runs are")
    found = _in_folder(folder) if bucket is None else _in_bucket(bucket)
    return sorted(found, key=lambda run: -(run.began_s or 0.0))


def records_of(folder: Path) -> Iterator[tuple[str, RunRecord]]:
    """The name and the record of each run in a folder whose journal can be read."""
    for path in sorted(folder.glob(f"*/{JOURNAL}")):
        try:
            entries = read_journal(path)
            if entries:
                yield path.parent.name, fold(entries)
        except InputError:
            continue


def choice_of(record: RunRecord) -> DataChoice:
    """The data of a run, from the settings in its journal.

    Raises:
        InputError: the settings are not those of a training or a search.
    """
    names = {one.name for one in dataclasses.fields(DataChoice)} - {"spec"}
    settings = record.started.settings
    chosen = {name: value for name, value in settings.items() if name in names}
    return build(DataChoice, {"spec": settings.get("data"), **chosen})


def sheet(runs: list[Run], storage: str) -> Sheet:
    """The runs as a table."""
    columns = ("run", "data", "KB", "trials", "log loss", "accuracy", "state", "on disk")
    return Sheet(title=f"Runs in {storage}", columns=columns, rows=tuple(map(_row, runs)))


def _row(run: Run) -> tuple[str, ...]:
    return (
        run.name,
        _short(run.data or ""),
        "" if run.budget_kb is None else f"{run.budget_kb:g}",
        f"{run.completed}/{run.trials}" if run.kind == "search" else run.kind or "",
        "" if run.best_log_loss is None else f"{run.best_log_loss:.3f}",
        "" if run.best_accuracy is None else f"{run.best_accuracy:.1%}",
        run.state,
        megabytes(run.size_bytes),
    )


def _short(spec: str) -> str:
    """The kind of data and the name of their folder or file: esc10:/home/me/ESC-10 becomes esc10:ESC-10."""
    scheme, colon, place = spec.partition(":")
    return f"{scheme}{colon}{Path(place).name}"


def megabytes(size_bytes: int) -> str:
    """A size for people: 1.2 MB."""
    return f"{size_bytes / 1e6:,.1f} MB"


def _in_folder(folder: Path) -> Iterator[Run]:
    for path in folder.glob(f"*/{JOURNAL}"):
        yield _run(path.parent.name, path, size_bytes=_bytes_below(path.parent), running=_is_held(path))


def _in_bucket(bucket: Bucket) -> Iterator[Run]:
    with tempfile.TemporaryDirectory() as folder:
        for name in bucket.folders():
            inside = bucket.at(name)
            data = inside.get(JOURNAL)
            if data is not None:
                path = Path(folder) / JOURNAL
                path.write_bytes(data)
                yield _run(name, path, size_bytes=sum(inside.sizes().values()), running=False)


def _run(name: str, path: Path, *, size_bytes: int, running: bool) -> Run:
    try:
        entries = read_journal(path)
        record = fold(entries) if entries else None
    except InputError as error:
        return Run(name=name, state="damaged", size_bytes=size_bytes, problem=str(error))
    ended = None if record is None else record.ended
    state: State = "running" if running else "not ended" if ended is None else ended.outcome
    if record is None:  # it was killed before its first event
        return Run(name=name, state=state, size_bytes=size_bytes)
    completed, settings = record.completed(), record.started.settings
    best = completed[0] if completed else None
    budget = settings.get("budget_kb")
    return Run(
        name=name,
        state=state,
        size_bytes=size_bytes,
        kind=record.started.kind,
        data=str(settings.get("data", "")),
        budget_kb=float(budget) if isinstance(budget, int | float) else None,
        trials=len(record.trials),
        completed=len(completed),
        best_trial=best.asked.trial if best else None,
        best_log_loss=best.ended.log_loss if best and best.ended else None,
        best_accuracy=best.ended.accuracy if best and best.ended else None,
        began_s=record.started_at_s,
    )


def _is_held(journal: Path) -> bool:
    """Whether a process has the journal open for appending: it holds a lock on it."""
    with journal.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += 0 if path.is_symlink() else path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # a running search removes checkpoints
            continue
    return total
