"""The one model file: the stored network, and all that is needed to get from a waveform to probabilities.

A safetensors file (https://huggingface.co/docs/safetensors) whose length the config alone decides
(`asc.size.file_layout`). Its header (`asc.model_file.model_header`) holds the texts of `asc.model_file.model_info` and
a checksum over the file. A network without a checksum that fits is never run.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from asc.config.experiment import Experiment
from asc.errors import InputError
from asc.model_file.model_header import METADATA, NO_CHECKSUM, SCHEMA, checksum, read_model_file, refuse
from asc.model_file.model_info import DataIdentity, ModelInfo, longest, texts
from asc.model_file.packs import pack, unpack
from asc.model_file.tensors import write_bytes
from asc.models.stored import StoredNet, empty
from asc.size.file_layout import LENGTH_BYTES, header_bytes, packs
from asc.size.law import Cost, cost

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
    write_bytes(path, whole.replace(NO_CHECKSUM.encode(), checksum(whole).encode(), 1))


def load_model(path: Path) -> tuple[StoredNet, ModelInfo]:
    """The stored network, ready to evaluate, and what its file says of it.

    Raises:
        InputError: no such file, cut off, altered, of another schema, or no model file at all.
    """
    info, data = read_model_file(path)
    size = _cost(info)
    network = empty(info.experiment)
    try:
        tensors = unpack(safetensors.torch.load(data), size.items, size.pruned, network.state_dict())
    except (SafetensorError, InputError) as error:
        refuse(path, str(error))
    network.load_state_dict(tensors, strict=True)
    return network.eval(), info


def check_room(experiment: Experiment, labels: tuple[str, ...], data: DataIdentity) -> None:
    """Check before a training that its model file can say what it has to, whatever its figures will be.

    Raises:
        InputError: labels and names of the data are too long for the header.
    """
    size = cost(experiment)
    places = {pack.name: _LONGEST_PLACE for pack in packs(size.items, size.pruned)}
    _headed(longest(experiment, labels, data), places)


def _headed(info: ModelInfo, places: Mapping[str, Any]) -> bytes:
    """The length of the header and the header, filled up with spaces; the digits of the checksum are zeros."""
    length = header_bytes(info.experiment.architecture.classes)
    spare = -1
    figures = info.evaluation
    for shorter in (figures, replace(figures, per_device=()), replace(figures, per_device=(), per_class=())):
        said = replace(info, evaluation=shorter)
        metadata = {"asc": SCHEMA, "checksum": NO_CHECKSUM, **texts(said)}
        text = json.dumps({METADATA: metadata, **places}, separators=(",", ":"), ensure_ascii=False).encode()
        spare = length - len(text)
        if spare >= 0:
            return length.to_bytes(LENGTH_BYTES, "little") + text + b" " * spare
    raise InputError(
        f"the header of a model file has {-spare} bytes too few for the labels and the names of the data: "
        "use shorter labels, a shorter --group-from, or a shorter path, such as one through a link"
    )


def _cost(info: ModelInfo) -> Cost:
    experiment = info.experiment
    return cost(experiment)
