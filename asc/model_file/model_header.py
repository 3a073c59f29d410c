"""Read and check a model file without torch: its header, length and checksum.

The checksum is a 16-byte BLAKE2b (RFC 7693) of the file in which the checksum's own hexadecimal digits are zeros.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NoReturn

from asc.config.experiment import Experiment
from asc.errors import InputError
from asc.model_file.model_info import ModelInfo, read
from asc.size.file_layout import LENGTH_BYTES, header_bytes
from asc.size.law import cost

SCHEMA = "3"
METADATA = "__metadata__"
NO_CHECKSUM = "0" * 32
_LONGEST_HEADER = 1_000_000


def read_model_file(path: Path) -> tuple[ModelInfo, bytes]:
    """Read and check a model file; return its description and all its bytes, with tensors still packed.

    Raises:
        InputError: the file does not exist, is not a model file, was cut off or altered, or has another schema.
    """
    try:
        if not path.is_file():
            wrong = "is not a file" if path.exists() else "does not exist"
            raise InputError(f"{path} {wrong}: give the path of a file such as runs/NAME/best/model.safetensors")
        with path.open("rb") as file:
            metadata, length = _metadata(path, file)
            info = _info(path, metadata, length)
            asked = _file_bytes(info)
            found = os.fstat(file.fileno()).st_size
            if found != asked:
                refuse(path, f"it has {found:,} bytes, but its config needs {asked:,}")
            file.seek(0)
            data = file.read()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    said = metadata.get("checksum", "")
    if checksum(data.replace(said.encode(), NO_CHECKSUM.encode(), 1)) != said:
        refuse(path, "its checksum is wrong")
    return info, data


def experiment_in(path: Path, data: bytes) -> Experiment | None:
    """Return the experiment of a model file with these bytes, or None if they do not begin like a model file.

    A model file begins with the length of a JSON object, then the object.

    Raises:
        InputError: the file begins like a model file, but is not a valid one.
    """
    if 0 < int.from_bytes(data[:LENGTH_BYTES], "little") <= _LONGEST_HEADER and data[LENGTH_BYTES:][:1] == b"{":
        return read_model_file(path)[0].experiment
    return None


def checksum(data: bytes) -> str:
    """Return the checksum of a model file in which its digits are set to zeros."""
    return hashlib.blake2b(data, digest_size=len(NO_CHECKSUM) // 2).hexdigest()


def refuse(path: Path, reason: str) -> NoReturn:
    """Raise the InputError for a damaged file or one that is not a model file."""
    raise InputError(
        f"{path} is not a model file of this asc, or it was cut off or altered ({reason}): use an intact copy"
    )


def _file_bytes(info: ModelInfo) -> int:
    experiment = info.experiment
    return cost(experiment).stored.file_bytes


def _metadata(path: Path, file: IO[bytes]) -> tuple[dict[str, str], int]:
    """Return the texts of a file's header, and the header's length in bytes."""
    start = file.read(LENGTH_BYTES)
    length = int.from_bytes(start, "little")
    if len(start) < LENGTH_BYTES or not 0 < length <= _LONGEST_HEADER:
        refuse(path, "it does not begin with the length of a header")
    text = file.read(length)
    if len(text) < length:
        refuse(path, "it ends within its header")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        refuse(path, f"its header cannot be read: {error}")
    metadata = header.get(METADATA) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        refuse(path, "its header describes no network")
    if metadata.get("asc") != SCHEMA:
        raise InputError(
            f"{path} is not a model file of this version of asc (schema {SCHEMA}): train it again with this version, "
            "or run it with the one that wrote it"
        )
    return metadata, length


def _info(path: Path, metadata: Mapping[str, str], length: int) -> ModelInfo:
    try:
        info = read(metadata)
    except InputError as error:
        refuse(path, str(error))
    if length != header_bytes(info.experiment.architecture.classes):
        refuse(path, "its header does not have the length that its config needs")
    return info
