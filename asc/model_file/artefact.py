"""The model file: the stored network, and everything needed to get from a waveform to probabilities.

It is a safetensors file (https://huggingface.co/docs/safetensors) whose length depends on the config only
(`asc.size.file_layout`). Its header (`asc.model_file.model_header`) holds the texts of `asc.model_file.model_info` and
a checksum of the file. A network is run only if its checksum is right.
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
from asc.results import Taught
from asc.size.file_layout import LENGTH_BYTES, header_bytes, packs
from asc.size.law import Cost, cost

_LONGEST_PLACE = {"dtype": "F16", "shape": [10**6], "data_offsets": [10**6, 10**6]}


def save_model(path: Path, network: StoredNet, info: ModelInfo) -> None:
    """Write a model file, atomically.

    If its header has too little space, the figures per device are left out, then also those per class.

    Raises:
        InputError: the labels and names of the data are too long for the header (`check_room` checks this before
            training).
        OSError: the disk is full.
    """
    size = _cost(info)
    tensors = pack(network.state_dict(), size.items, size.pruned)
    # safetensors lays out the tensors, but its header has a varying length, so the header is written here.
    data = safetensors.torch.save(tensors)
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    places = json.loads(data[LENGTH_BYTES : LENGTH_BYTES + length])
    whole = _headed(info, places) + data[LENGTH_BYTES + length :]
    if len(whole) != size.stored.file_bytes:
        raise AssertionError(f"the file has {len(whole)} bytes, but the size law predicted {size.stored.file_bytes}")
    write_bytes(path, whole.replace(NO_CHECKSUM.encode(), checksum(whole).encode(), 1))


def load_model(path: Path) -> tuple[StoredNet, ModelInfo]:
    """Read the stored network, in eval mode, and the description in its file.

    Raises:
        InputError: the file does not exist, is not a model file, was cut off or altered, or has another schema.
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


def check_room(
    experiment: Experiment, labels: tuple[str, ...], data: DataIdentity, taught: Taught | None = None
) -> None:
    """Check before training that the header of the model file will have enough space, whatever the figures.

    Raises:
        InputError: labels and names of the data and the teachers are too long for the header.
    """
    size = cost(experiment)
    places = {pack.name: _LONGEST_PLACE for pack in packs(size.items, size.pruned)}
    _headed(longest(experiment, labels, data, taught), places)


def _headed(info: ModelInfo, places: Mapping[str, Any]) -> bytes:
    """Return the header's length and the header, padded with spaces and with zeros for the checksum."""
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
        f"the labels and the names of the data are {-spare} bytes too long for the header of a model file: "
        "use shorter labels, a shorter --group-from, or a shorter path, such as one through a link"
    )


def _cost(info: ModelInfo) -> Cost:
    experiment = info.experiment
    return cost(experiment)
