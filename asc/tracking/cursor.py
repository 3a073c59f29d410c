"""How far a journal has been sent: a small file in the run's folder, replaced whole after each batch.

Only the place is kept. Which MLflow run belongs to which trial is asked of MLflow itself, so that the file can be lost,
and the database too, without anything doubled or left out.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from asc.errors import InputError
from asc.run_files import MLFLOW_CURSOR
from asc.typed import typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The journal was sent to `uri` up to byte `offset`; the ids are for people and for the page's address.

    `model_digest` names the model file that was logged last, `card_digest` its card, `model_uri` says where.
    """

    uri: str
    offset: int = 0
    experiment_id: str | None = None
    parent_run_id: str | None = None
    model_digest: str | None = None
    card_digest: str | None = None
    model_uri: str | None = None


def load_cursor(run_folder: Path, uri: str) -> Cursor:
    """The cursor of a run for this MLflow; at the start where there is none, it is of another MLflow, or unreadable."""
    try:
        cursor: Cursor = typed(Cursor, json.loads((run_folder / MLFLOW_CURSOR).read_text("utf-8")), MLFLOW_CURSOR)
    except (OSError, ValueError, InputError):
        return Cursor(uri=uri)
    return cursor if cursor.uri == uri else Cursor(uri=uri)


def save_cursor(run_folder: Path, cursor: Cursor) -> None:
    """Replace the file in one step: a reader, or a crash, finds the old one or the new one.

    Raises:
        OSError: the disk is full or gone; it names the file, which tells it from an error of MLflow's.
    """
    fresh = run_folder / f"{MLFLOW_CURSOR}.tmp"
    try:
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(asdict(cursor), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(run_folder / MLFLOW_CURSOR)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(run_folder / MLFLOW_CURSOR)) from None
