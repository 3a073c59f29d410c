"""Makes a new tracking database from the journals of all runs of a storage, and keeps the old one beside it.

Everything is sent to a file of another name first. Only when it is complete does it take the place of the old database,
so a process that is killed loses nothing, and the next one goes on where it stopped. Runs that begin meanwhile are sent
too. A process that still sends to the old database notices that it was replaced, and sends everything to the new one.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO

from sqlalchemy import make_url

from asc.errors import InputError, require
from asc.run_files import JOURNAL
from asc.runs.folder import readable_run_folder
from asc.runs.journal import read_journal
from asc.runs.storage import bucket_of, runs_folder
from asc.tracking.address import check_uri, is_database
from asc.tracking.cursor import load_cursor, save_cursor
from asc.tracking.mlflow import locked, send_locked
from asc.tracking.schema import OtherSchema, check_schema
from asc.tracking.store import alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What was sent to the new database. `kept` is the old database under its new name; None if there was none."""

    runs: int
    events: int
    kept: Path | None


def rebuild(storage: str, uri: str, say: Callable[[str], None]) -> Rebuilt:
    """Send every run of a storage to a new database, then put that in the place of the one at `uri`.

    `say` is called with a line for each run. Runs whose journal is damaged are named and left out.

    Raises:
        InputError: `uri` is no database, the storage has no runs, a run is being sent, another program has the database
            open, or something failed on the way.
        StorageError: the bucket cannot be reached.
    """
    check_uri(uri)
    require(
        is_database(uri),
        f"--rebuild makes a database file, and {uri} is a server: give --mlflow-uri sqlite:////ABSOLUTE/PATH/mlflow.db",
    )
    file = Path(make_url(uri).database or "")
    new = file.with_name(f"{file.stem}.unfinished{file.suffix}")
    said = set[str]()
    folders = _readable(storage, say, said)
    require(len(folders) > 0, f"{storage} has no runs with events: give --storage the folder or bucket of the runs")
    with contextlib.ExitStack() as locks:
        for folder in folders:
            locks.enter_context(_locked(folder))
        _drop_useless(new)
        events, sent = 0, set[Path]()
        while True:
            events += sum(_sent(folder, f"sqlite:///{new}", say) for folder in folders)
            sent.update(folders)
            with alone(new.parent):  # a run that begins now waits, and then finds the new database
                folders = [folder for folder in _readable(storage, say, said) if folder not in sent]
                if not folders:
                    kept = _put_in_place(new, file)
                    break
            for folder in folders:  # they began meanwhile
                locks.enter_context(_locked(folder))
        for folder in sent:
            save_cursor(folder, replace(load_cursor(folder, f"sqlite:///{new}"), uri=uri))
    return Rebuilt(runs=len(sent), events=events, kept=kept)


def _locked(folder: Path) -> IO[bytes]:
    try:
        return locked(folder)
    except InputError as error:
        raise InputError(f"{error}; then start --rebuild again: the old database is as it was") from error


def _readable(storage: str, say: Callable[[str], None], said: set[str]) -> list[Path]:
    """The folders of the runs that have events; those of a bucket are fetched first. `said` is what was left out."""
    found = []
    for folder in _folders(storage):
        try:
            if read_journal(folder / JOURNAL):
                found.append(folder)
        except InputError as error:
            if str(error) not in said:
                said.add(str(error))
                say(f"left out: {error}")
    return found


def _folders(storage: str) -> list[Path]:
    bucket = bucket_of(storage)
    if bucket is None:
        return [journal.parent for journal in sorted(runs_folder(storage).glob(f"*/{JOURNAL}"))]
    names = [name for name in sorted(bucket.folders()) if bucket.at(name).get(JOURNAL) is not None]
    return [readable_run_folder(storage, name) for name in names]


def _drop_useless(new: Path) -> None:
    """Remove what an earlier process left if it cannot be gone on with: another version of MLflow wrote it."""
    try:
        check_schema(f"sqlite:///{new}")
    except OtherSchema:
        new.unlink()


def _sent(folder: Path, uri: str, say: Callable[[str], None]) -> int:
    shipped = send_locked(folder, uri=uri)
    if shipped.problem is not None:
        raise InputError(f"{shipped.problem}; the old database is as it was: start --rebuild again to go on")
    events = len(read_journal(folder / JOURNAL))
    say(f"{folder.name}: {events:,} events")
    return events


def _put_in_place(new: Path, file: Path) -> Path | None:
    """Rename the old database, then the new one; return the old one's new name."""
    kept = None
    _settle(new)
    if file.exists():
        _settle(file)
        kept = _free(file)
        file.rename(kept)
    new.rename(file)
    return kept


def _settle(file: Path) -> None:
    """Take into a database what sqlite holds beside it (`-wal`, `-journal`), so that one rename moves all of it.

    Raises:
        InputError: another program has the database open, so its `-wal` cannot be emptied.
    """
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()  # undoes what a killed process began
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    beside = next((one for end in ("-wal", "-journal") if (one := file.with_name(file.name + end)).exists()), None)
    require(
        beside is None,
        f"another program has the database {file} open, for {beside} remains: stop it, such as `mlflow ui`, and start "
        "--rebuild again; the old database is as it was",
    )


def _free(file: Path) -> Path:
    """A name that no file has: with the time, and a number if that is taken."""
    stem, number = f"{file.stem}-{datetime.now():%Y%m%d-%H%M%S}", 1
    kept = file.with_name(f"{stem}{file.suffix}")
    while kept.exists():
        number += 1
        kept = file.with_name(f"{stem}-{number}{file.suffix}")
    return kept
