"""Checkpoints: safetensors files with tensors and a JSON header, written to a temporary file and renamed.

Reading such a file executes and unpickles nothing (https://huggingface.co/docs/safetensors).
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from asc.errors import InputError

_KEY = "asc"


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically and durably, so that it is never incomplete, even after a crash of the machine.

    Raises:
        OSError: the disk is full; the old file, if any, stays as it was.
    """
    write_together({path: data})


def write_together(files: Mapping[Path, bytes], *, outdated: Iterable[Path] = ()) -> None:
    """Write several files, and move them into place, in order, only after all are written.

    `outdated` are files that must not exist beside a new file; they are deleted just before the move.

    Raises:
        OSError: the disk is full; all files are unchanged.
    """
    temporaries = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in files}
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(temporaries[path], data)
        for path in outdated:
            path.unlink(missing_ok=True)
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on disk. Errors name the file, which those of `write` do not."""
    try:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header as one safetensors file, atomically (raises like `write_bytes`)."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(contiguous, metadata={_KEY: json.dumps(header, allow_nan=False)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the header of a file written by `write_tensors`.

    Raises:
        InputError: the file does not exist, is not a safetensors file, was cut off, or was not written by asc.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path} does not exist: give the path of a file such as runs/NAME/best/model.safetensors")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        header = json.loads(metadata.get(_KEY, "null"))
    except (SafetensorError, json.JSONDecodeError, RecursionError, OSError) as error:
        raise InputError(f"{path} is not an asc file or is damaged ({error}): give an intact one") from error
    if not isinstance(header, dict):
        raise InputError(f"{path} is not an asc file (it has no asc header): give a file that asc wrote")
    return tensors, header
