"""Remembers how far a journal has been sent, in a small file in the run's folder, replaced after each batch.

The file does not say which MLflow run belongs to which trial: MLflow itself is asked. So the file or the database can
be lost, and still no update is duplicated or left out.
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
    """The journal was sent to `uri` up to byte `offset`; the ids are for messages and for the URL of the page.

    `model_digest` and `card_digest` are those of the model file and card that were logged last, under `model_uri`.
    """

    uri: str
    offset: int = 0
    experiment_id: str | None = None
    parent_run_id: str | None = None
    model_digest: str | None = None
    card_digest: str | None = None
    model_uri: str | None = None


def load_cursor(run_folder: Path, uri: str) -> Cursor:
    """The cursor of a run for this MLflow; a new one if the file is missing, unreadable or of another MLflow."""
    try:
        cursor: Cursor = typed(Cursor, json.loads((run_folder / MLFLOW_CURSOR).read_text("utf-8")), MLFLOW_CURSOR)
    except (OSError, ValueError, InputError):
        return Cursor(uri=uri)
    return cursor if cursor.uri == uri else Cursor(uri=uri)


def save_cursor(run_folder: Path, cursor: Cursor) -> None:
    """Replace the file atomically: after a crash, too, a reader finds either the old or the new one.

    Raises:
        OSError: the disk is full or gone. It names the file, which distinguishes it from MLflow's errors.
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
