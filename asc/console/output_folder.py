"""The folder that a script writes its files to, checked before anything is computed."""

import tempfile
from pathlib import Path

from asc.errors import InputError, disk_is_full


def prepare(folder: Path) -> None:
    """Make the folder and check that it can be written, before anything is computed.

    Raises:
        InputError: it cannot.
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
            f"{folder} cannot be written ({error.strerror}): give a folder of yours as --output"
        ) from error
