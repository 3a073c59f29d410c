"""Teacher logits: what teachers say about clips, in a safetensors file (`--teacher-logits`). Nothing is unpickled.

The tensor `logits` is float32, (clips, classes) or (teachers, clips, classes). The header's metadata has `files`, the
paths of the clips as the data set names them (a copy of `--device-irs` as `FILE@DEVICE`), and `labels`, both as JSON
lists in the order of the tensor. It may have `teachers`, a list of pairs of a name and a size in KB (or null).
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from asc.errors import InputError
from asc.model_file.tensors import write_bytes
from asc.results import Taught, TeacherNetwork
from asc.typed import typed

_TENSOR = "logits"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TeacherLogits:
    """The logits of teachers, (teachers, clips, classes) float32, for clips (`files`) and classes (`labels`).

    `source` names the file in messages. There may be fewer `teachers` than the first axis has rows, or more, because
    one row may be the mean of several.
    """

    source: str
    files: tuple[str, ...]
    labels: tuple[str, ...]
    logits: Tensor
    teachers: tuple[TeacherNetwork, ...]

    @property
    def taught(self) -> Taught:
        """What a model file says about the teachers; the digest is of the files, the labels and every logit."""
        sha = hashlib.sha256(json.dumps([self.files, self.labels, list(self.logits.shape)]).encode())
        sha.update(self.logits.contiguous().numpy().tobytes())
        return Taught(digest=sha.hexdigest()[:16], teachers=self.teachers)

    def mean(self) -> Tensor:
        """The logarithm of the teachers' mean probabilities, (clips, classes) float32: logits, of the mean teacher."""
        each = torch.log_softmax(self.logits.double(), dim=2)
        return (torch.logsumexp(each, dim=0) - math.log(len(each))).float()

    def of(self, files: Sequence[str], labels: Sequence[str]) -> Tensor:
        """The rows of `mean` for these clips, (clips, classes), its columns in the order of these labels.

        Raises:
            InputError: the labels are not those of the teachers, or a clip has no logits.
        """
        if set(labels) != set(self.labels):
            raise InputError(
                f"{self.source}: labels are {', '.join(self.labels)}, but the data have {', '.join(labels)}: give "
                "logits of these labels"
            )
        row_of = {file: row for row, file in enumerate(self.files)}
        missing = [file for file in files if file not in row_of]
        if missing:
            raise InputError(
                f"{self.source}: files lacks {len(missing)} of {len(files)} training clips, such as {missing[0]}: give "
                "logits of every clip that is trained on"
            )
        rows, columns = [row_of[file] for file in files], [self.labels.index(label) for label in labels]
        return self.mean()[rows][:, columns]


def write_teacher_logits(path: Path, teacher: TeacherLogits) -> None:
    """Write the file, atomically. One teacher's logits are written as (clips, classes).

    Raises:
        OSError: the disk is full.
    """
    logits = teacher.logits[0] if len(teacher.logits) == 1 else teacher.logits
    header = {
        "files": teacher.files,
        "labels": teacher.labels,
        "teachers": [(network.name, network.kilobytes) for network in teacher.teachers],
    }
    metadata = {key: json.dumps(value) for key, value in header.items()}
    write_bytes(path, save({_TENSOR: logits.contiguous()}, metadata=metadata))


def read_teacher_logits(path: Path) -> TeacherLogits:
    """Read and check the file.

    Raises:
        InputError: the file cannot be read, or what it holds is not as the module says; the message names the key.
    """
    logits, metadata = _opened(path)
    files = _names(path, metadata, "files")
    labels = _names(path, metadata, "labels")
    if logits.dtype != torch.float32 or logits.dim() not in (2, 3):
        raise InputError(
            f"{path}: {_TENSOR} must be float32 and of shape (clips, classes) or (teachers, clips, classes), but is "
            f"{str(logits.dtype).removeprefix('torch.')} and {tuple(logits.shape)}"
        )
    logits = logits if logits.dim() == 3 else logits.unsqueeze(0)
    if len(logits) == 0 or tuple(logits.shape[1:]) != (len(files), len(labels)):
        raise InputError(
            f"{path}: {_TENSOR} is for {logits.shape[1]} clips, {logits.shape[2]} classes and {len(logits)} teachers, "
            f"but files names {len(files)} and labels {len(labels)}: write one row for each file and label"
        )
    finite = torch.isfinite(logits).all(dim=2).all(dim=0)
    if not bool(finite.all()):
        first = files[int(torch.nonzero(~finite)[0])]
        raise InputError(f"{path}: {_TENSOR} of {first} is not finite: write finite numbers")
    return TeacherLogits(
        source=str(path), files=files, labels=labels, logits=logits, teachers=_teachers(path, metadata)
    )


def _opened(path: Path) -> tuple[Tensor, dict[str, str]]:
    try:
        if not path.is_file():
            raise InputError(f"{path} does not exist: give a safetensors file with the logits of teachers")
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            if _TENSOR not in file.keys():
                raise InputError(f"{path}: {_TENSOR} is missing: write a tensor of that name")
            return file.get_tensor(_TENSOR), metadata
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a safetensors file or is damaged ({error}): give an intact one") from error


def _names(path: Path, metadata: dict[str, str], key: str) -> tuple[str, ...]:
    """A list of names in the header, none of them twice."""
    names: tuple[str, ...] = _decoded(path, metadata, key, tuple[str, ...])
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"{path}: {key} has {twice[0]} twice: name each once")
    return names


def _teachers(path: Path, metadata: dict[str, str]) -> tuple[TeacherNetwork, ...]:
    """The teachers that the header names; if it names none, one with the name of the file."""
    if "teachers" not in metadata:
        return (TeacherNetwork(name=path.stem),)
    pairs = _decoded(path, metadata, "teachers", tuple[tuple[str | float | None, ...], ...])
    found = []
    for pair in pairs:
        if len(pair) != 2 or not isinstance(pair[0], str) or isinstance(pair[1], str):
            raise InputError(f"{path}: teachers must be pairs of a name and a number of KB, got {list(pair)}")
        name, kilobytes = pair
        if not name.isprintable() or not name.strip() or (kilobytes is not None and kilobytes <= 0):
            raise InputError(f"{path}: teachers must have a printable name and a size above 0, got {list(pair)}")
        found.append(TeacherNetwork(name=name, kilobytes=kilobytes))
    if not found:
        raise InputError(f"{path}: teachers is empty: name at least one, or leave it out")
    return tuple(found)


def _decoded(path: Path, metadata: dict[str, str], key: str, hint: Any) -> Any:
    if key not in metadata:
        raise InputError(f"{path}: {key} is missing in the metadata of the header: write it there as a JSON list")
    try:
        return typed(hint, json.loads(metadata[key]), key)
    except (ValueError, RecursionError, InputError) as error:
        raise InputError(f"{path}: {key} in the metadata is not the JSON list that it must be ({error})") from error
