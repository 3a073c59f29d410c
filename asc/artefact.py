"""The one model file: the stored network in safetensors, and in its header all that is needed to run and judge it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from asc.checkpoint import read_tensors, write_tensors
from asc.config import Experiment
from asc.data.choice import DataChoice
from asc.errors import InputError
from asc.quant.stored import StoredNet, empty
from asc.results import CalibrationReport, Evaluation
from asc.typed import build

SCHEMA = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DataIdentity:
    """Which data a network was trained on, and the digest of their manifest."""

    choice: DataChoice
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a model file says of itself: config (front end too), labels in the order of the logits, data, figures.

    `calibration` says what came of calibrating it, None where that was not asked for.
    """

    experiment: Experiment
    labels: tuple[str, ...]
    data: DataIdentity
    evaluation: Evaluation
    calibration: CalibrationReport | None = None


def save_model(path: Path, network: StoredNet, info: ModelInfo) -> None:
    """Write a model file, atomically.

    Raises:
        OSError: the disk is full.
    """
    write_tensors(path, network.state_dict(), {"schema": SCHEMA, **dataclasses.asdict(info)})


def load_model(path: Path) -> tuple[StoredNet, ModelInfo]:
    """The stored network, ready to evaluate, and what its file says of it.

    Raises:
        InputError: no such file, damaged, of another schema, or its tensors do not belong to its config.
    """
    tensors, header = read_tensors(path)
    if header.pop("schema", None) != SCHEMA:
        raise InputError(f"{path} is no model of this asc (schema {SCHEMA}): train or export it again")
    try:
        info = build(ModelInfo, header)
        _check_labels(info)
        network = empty(info.experiment)
        _check_tensors(tensors, network.state_dict())
    except InputError as error:
        raise InputError(
            f"{path} does not hold the network that it names ({error}): train or export it again"
        ) from error
    network.load_state_dict(tensors, strict=True)
    return network.eval(), info


def _check_labels(info: ModelInfo) -> None:
    classes = info.experiment.architecture.classes
    if len(info.labels) != classes:
        raise InputError(f"{len(info.labels)} labels for {classes} classes")


def _check_tensors(stored: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Names, shapes and types alike: `load_state_dict` itself would cut floats down to int8 without a word."""
    for name in sorted(stored.keys() ^ wanted.keys()):
        raise InputError(f"tensor {name} is {'missing' if name in wanted else 'not of this network'}")
    for name, tensor in wanted.items():
        found = stored[name]
        if (found.shape, found.dtype) != (tensor.shape, tensor.dtype):
            raise InputError(
                f"tensor {name} is {found.dtype} {list(found.shape)}, not {tensor.dtype} {list(tensor.shape)}"
            )
        if found.is_floating_point() and not bool(found.isfinite().all()):
            raise InputError(f"tensor {name} has values that are no finite numbers")
