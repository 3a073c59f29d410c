"""Checkpoints: one safetensors file holds tensors and a JSON header, written to a temporary file and renamed.

https://huggingface.co/docs/safetensors: nothing in such a file is executed or unpickled when it is read.
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
    """Write a file so that it is either whole or not there, even if the machine dies.

    Raises:
        OSError: the disk is full; the old file, if any, stays as it was.
    """
    write_together({path: data})


def write_together(files: Mapping[Path, bytes], *, outdated: Iterable[Path] = ()) -> None:
    """Write files of which none takes its place before all are written; they take it in their order.

    `outdated` are removed just before that: what must not be found beside a new file.

    Raises:
        OSError: the disk is full; all is as it was.
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
    """Write a file and wait until it is on the disk; an error names it, which one of a write does not by itself."""
    try:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header as one safetensors file, atomically (errors as `write_bytes`)."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(contiguous, metadata={_KEY: json.dumps(header, allow_nan=False)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header of a file that `write_tensors` wrote.

    Raises:
        InputError: no such file, not safetensors, cut off, or not written by asc.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path} does not exist: give the path of a file such as runs/NAME/best/model.safetensors")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        header = json.loads(metadata.get(_KEY, "null"))
    except (SafetensorError, json.JSONDecodeError, RecursionError, OSError) as error:
        raise InputError(f"{path} is no asc file or is damaged ({error}): give a whole file that asc wrote") from error
    if not isinstance(header, dict):
        raise InputError(f"{path} is no asc file (it has no header of asc's): give a file that asc wrote")
    return tensors, header
