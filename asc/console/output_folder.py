"""Prepares the folder that a script writes its files to, before anything is computed."""

import tempfile
from pathlib import Path

from asc.errors import InputError, disk_is_full


def prepare(folder: Path) -> None:
    """Create the folder and check that it is writable.

    Raises:
        InputError: the folder cannot be created or written.
        OSError: the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if disk_is_full(error):
            raise
        raise InputError(
            f"{folder} cannot be written ({error.strerror}): give a folder that you can write to as --output"
        ) from error
