"""The one model file: the stored network, and all that is needed to get from a waveform to probabilities.

A safetensors file (https://huggingface.co/docs/safetensors) whose length the config alone decides (`asc.file_layout`).
Its header holds the texts of `asc.model_info` and a checksum over the file: BLAKE2b (RFC 7693) of 16 bytes, its own
digits taken for zeros. A network without a checksum that fits is never run.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NoReturn

import safetensors.torch
from safetensors import SafetensorError

from asc.checkpoint import write_bytes
from asc.config import Experiment
from asc.errors import InputError
from asc.file_layout import LENGTH_BYTES, header_bytes, packs
from asc.model_info import DataIdentity, ModelInfo, longest, read, texts
from asc.packs import pack, unpack
from asc.quant.stored import StoredNet, empty
from asc.size import Cost, cost

SCHEMA = "3"
_METADATA = "__metadata__"
_NO_CHECKSUM = "0" * 32
_LONGEST_HEADER = 1_000_000
_LONGEST_PLACE = {"dtype": "F16", "shape": [10**6], "data_offsets": [10**6, 10**6]}


def save_model(path: Path, network: StoredNet, info: ModelInfo) -> None:
    """Write a model file, atomically.

    Where its header has no room for the figures of all devices, they are left out, and then those of the classes.

    Raises:
        InputError: the header has no room for the labels or the names of the data (`check_room` says so beforehand).
        OSError: the disk is full.
    """
    size = _cost(info)
    tensors = pack(network.state_dict(), size.items, size.pruned)
    # safetensors lays the tensors out; the header is written here, for its own would have another length each time.
    data = safetensors.torch.save(tensors)
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    places = json.loads(data[LENGTH_BYTES : LENGTH_BYTES + length])
    whole = _headed(info, places) + data[LENGTH_BYTES + length :]
    if len(whole) != size.stored.file_bytes:
        raise AssertionError(f"the file has {len(whole)} bytes, but the size law predicted {size.stored.file_bytes}")
    write_bytes(path, whole.replace(_NO_CHECKSUM.encode(), _checksum(whole).encode(), 1))


def load_model(path: Path) -> tuple[StoredNet, ModelInfo]:
    """The stored network, ready to evaluate, and what its file says of it.

    Raises:
        InputError: no such file, cut off, altered, of another schema, or no model file at all.
    """
    try:
        if not path.is_file():
            wrong = "is no file" if path.exists() else "does not exist"
            raise InputError(f"{path} {wrong}: give the path of a file such as runs/NAME/best/model.safetensors")
        with path.open("rb") as file:
            metadata, length = _metadata(path, file)
            info = _info(path, metadata, length)
            size = _cost(info)
            found = os.fstat(file.fileno()).st_size
            if found != size.stored.file_bytes:
                _refuse(path, f"it has {found:,} bytes, its config asks for {size.stored.file_bytes:,}")
            file.seek(0)
            data = file.read()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): see that it may be read") from error
    said = metadata.get("checksum", "")
    if _checksum(data.replace(said.encode(), _NO_CHECKSUM.encode(), 1)) != said:
        _refuse(path, "its checksum does not fit")
    network = empty(info.experiment)
    try:
        tensors = unpack(safetensors.torch.load(data), size.items, size.pruned, network.state_dict())
    except (SafetensorError, InputError) as error:
        _refuse(path, str(error))
    network.load_state_dict(tensors, strict=True)
    return network.eval(), info


def check_room(experiment: Experiment, labels: tuple[str, ...], data: DataIdentity) -> None:
    """Check before a training that its model file can say what it has to, whatever its figures will be.

    Raises:
        InputError: labels and names of the data are too long for the header.
    """
    size = cost(experiment.architecture, experiment.front_end, experiment.compression)
    places = {pack.name: _LONGEST_PLACE for pack in packs(size.items, size.pruned)}
    _headed(longest(experiment, labels, data), places)


def _headed(info: ModelInfo, places: Mapping[str, Any]) -> bytes:
    """The length of the header and the header, filled up with spaces; the digits of the checksum are zeros."""
    length = header_bytes(info.experiment.architecture.classes)
    spare = -1
    figures = info.evaluation
    for shorter in (figures, replace(figures, per_device=()), replace(figures, per_device=(), per_class=())):
        said = replace(info, evaluation=shorter)
        metadata = {"asc": SCHEMA, "checksum": _NO_CHECKSUM, **texts(said)}
        text = json.dumps({_METADATA: metadata, **places}, separators=(",", ":"), ensure_ascii=False).encode()
        spare = length - len(text)
        if spare >= 0:
            return length.to_bytes(LENGTH_BYTES, "little") + text + b" " * spare
    raise InputError(
        f"the header of a model file has {-spare} bytes too few for the labels and the names of the data: "
        "use shorter labels, a shorter --group-from, or a shorter path, such as one through a link"
    )


def _metadata(path: Path, file: IO[bytes]) -> tuple[dict[str, str], int]:
    """The texts of a file's header, and its length."""
    start = file.read(LENGTH_BYTES)
    length = int.from_bytes(start, "little")
    if len(start) < LENGTH_BYTES or not 0 < length <= _LONGEST_HEADER:
        _refuse(path, "it does not begin with the length of a header")
    text = file.read(length)
    if len(text) < length:
        _refuse(path, "it ends within its header")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        _refuse(path, f"its header cannot be read: {error}")
    metadata = header.get(_METADATA) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse(path, "its header names no network")
    if metadata.get("asc") != SCHEMA:
        raise InputError(
            f"{path} is no model file of this version of asc (schema {SCHEMA}): train it again with this version, or "
            "run it with the one that wrote it"
        )
    return metadata, length


def _info(path: Path, metadata: Mapping[str, str], length: int) -> ModelInfo:
    try:
        info = read(metadata)
    except InputError as error:
        _refuse(path, str(error))
    if length != header_bytes(info.experiment.architecture.classes):
        _refuse(path, "its header has another length than its config asks for")
    return info


def _cost(info: ModelInfo) -> Cost:
    experiment = info.experiment
    return cost(experiment.architecture, experiment.front_end, experiment.compression)


def _checksum(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=len(_NO_CHECKSUM) // 2).hexdigest()


def _refuse(path: Path, reason: str) -> NoReturn:
    raise InputError(
        f"{path} is no model file of this asc, or it was cut off or altered ({reason}): take a whole copy of it"
    )
