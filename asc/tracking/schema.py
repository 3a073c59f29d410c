"""Whether a tracking database has the tables of the installed MLflow; each version of MLflow may change them.

It must be asked before MLflow opens the file: MLflow refuses a database that another version wrote, or, where the newer
version has another table, changes it in place without a copy.
https://mlflow.org/docs/latest/self-hosting/migration
"""

import contextlib
import shlex
import sqlite3
from importlib.metadata import version
from pathlib import Path

import mlflow
from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from asc.launchers import command
from asc.runs.named import RUNS
from asc.tracking.address import default_uri


class OtherSchema(Exception):
    """Another version of MLflow wrote the database. The text is the sentence for the user, without a full stop."""


class Replaced(Exception):
    """Another file has taken the place of a database in use. The text is the sentence for the user, as above."""


def check_schema(uri: str) -> None:
    """Check that the installed MLflow can use a sqlite database as it is.

    A file that is missing or without runs has nothing to lose, such as one whose creation was interrupted.

    Raises:
        OtherSchema: another version of MLflow wrote it.
    """
    file = Path(make_url(uri).database or "")
    found = _revision(file)
    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    if found is None or found in scripts.get_heads():
        return
    known = {script.revision for script in scripts.walk_revisions()}
    installed = f"MLflow {version('mlflow')}"
    if found in known:
        raise OtherSchema(
            f"the database {uri} was written by an older version than the installed {installed}: copy {file}, then "
            f"upgrade it with `mlflow db upgrade {shlex.quote(uri)}`, or make a new one from the journals with "
            f"`{rebuild_command(uri)}`"
        )
    raise OtherSchema(
        f"the database {uri} was written by a newer version than the installed {installed}: install that one, or make "
        f"a new database from the journals with `{rebuild_command(uri)}`"
    )


def rebuild_command(uri: str) -> str:
    """The command that makes a sqlite database anew from the journals."""
    folder = Path(make_url(uri).database or "").parent
    if uri == default_uri(RUNS):
        return f"{command('track')} --rebuild"
    if uri == default_uri(folder):
        return f"{command('track')} --rebuild --storage {shlex.quote(str(folder))}"
    return f"{command('track')} --rebuild --storage DIR --mlflow-uri {shlex.quote(uri)}"


def _revision(file: Path) -> str | None:
    """The revision of the tables, which alembic notes in the database; None if it has no runs, or is no database."""
    if not file.is_file():
        return None
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_read_only(file)) as database:
        if database.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
            return None if row is None else str(row[0])
    return None


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
