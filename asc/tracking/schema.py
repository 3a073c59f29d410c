"""Makes a tracking database, or says whether one has the tables of the installed MLflow.

Each version of MLflow may change them. It must be asked before MLflow opens the file: MLflow refuses a database that
another version wrote, or, where the newer version has another table, changes it in place without a copy.
https://mlflow.org/docs/latest/self-hosting/migration
"""

import contextlib
import shlex
import sqlite3
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import mlflow
from alembic.script import ScriptDirectory
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import make_url

from asc.launchers import command
from asc.runs.named import RUNS
from asc.tracking.address import artefact_root, default_uri


class OtherSchema(Exception):
    """Another version of MLflow wrote the database. The text is the sentence for the user, without a full stop."""


class Replaced(Exception):
    """Another file has taken the place of a database in use. The text is the sentence for the user, as above."""


def check_schema(uri: str) -> None:
    """Check that the installed MLflow can use a sqlite database as it is.

    Raises:
        OtherSchema: another version of MLflow wrote it, or a process was killed while it made the tables.
    """
    file = Path(make_url(uri).database or "")
    tables = _tables(file)
    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    if tables is None or tables.revision in scripts.get_heads():
        return
    installed = f"MLflow {version('mlflow')}"
    if not tables.runs:
        raise OtherSchema(
            f"the database {uri} has no runs, and not the tables of {installed}, perhaps because a process was killed "
            f"while it made them: if no other program is making them now, delete {file}"
        )
    known = {script.revision for script in scripts.walk_revisions()}
    if tables.revision in known:
        raise OtherSchema(
            f"the database {uri} was written by an older version than the installed {installed}: copy {file}, then "
            f"upgrade it with `mlflow db upgrade {shlex.quote(uri)}`, or make a new one from the journals with "
            f"`{rebuild_command(uri)}`"
        )
    raise OtherSchema(
        f"the database {uri} was written by a newer version than the installed {installed}: install that one, or make "
        f"a new database from the journals with `{rebuild_command(uri)}`"
    )


def make_database(uri: str) -> None:
    """Make a sqlite database with MLflow's tables, unless there is one; only one process at a time may call this.

    MLflow makes its tables in many steps, and cannot go on with what a killed process left. So they are made in a file
    of another name.

    Raises:
        OSError: the file cannot be written.
    """
    file = Path(make_url(uri).database or "").resolve()
    if file.exists() and file.stat().st_size > 0:
        return
    making = file.with_name(f"{file.name}.making")
    for left in (making, making.with_name(f"{making.name}-journal")):
        left.unlink(missing_ok=True)
    making.touch()  # if that fails, MLflow would try again for 100 s
    store = SqlAlchemyStore(  # type: ignore[no-untyped-call]
        make_url(uri).set(database=str(making)).render_as_string(), artefact_root(uri)
    )
    store.engine.dispose()
    if file.exists() and file.stat().st_size > 0:  # another program, such as `mlflow ui`, has made it meanwhile
        making.unlink()
    else:
        making.rename(file)


def rebuild_command(uri: str) -> str:
    """The command that makes a sqlite database anew from the journals."""
    folder = Path(make_url(uri).database or "").parent
    if uri == default_uri(RUNS):
        return f"{command('track')} --rebuild"
    if uri == default_uri(folder):
        return f"{command('track')} --rebuild --storage {shlex.quote(str(folder))}"
    return f"{command('track')} --rebuild --storage DIR --mlflow-uri {shlex.quote(uri)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """The revision that alembic notes of a database's tables, None if it notes none, and whether there are runs."""

    revision: str | None
    runs: bool


def _tables(file: Path) -> _Tables | None:
    """What a database has; None if it has no tables of MLflow, or is no database."""
    if not file.is_file():
        return None
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_read_only(file)) as database:
        runs = database.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None
        noted = None
        with contextlib.suppress(sqlite3.Error):
            noted = database.execute("SELECT version_num FROM alembic_version").fetchone()
        return _Tables(revision=None if noted is None else str(noted[0]), runs=runs)
    return None


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
