import json
import os
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from asc.errors import InputError
from asc.model_file.tensors import read_tensors, write_bytes, write_tensors

HEADER = {"schema": 1, "text": "\u00e4\n", "rows": [{"share": 0.1}], "none": None}


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "floats": torch.randn(3, 4, generator=generator),
        "channels_last": torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        "transposed": torch.randn(3, 4, generator=generator).T,
        "int8": torch.tensor([-128, 0, 127], dtype=torch.int8),
        "scalar": torch.tensor(7, dtype=torch.int32),
        "double": torch.tensor([1e-300], dtype=torch.float64),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "empty": torch.zeros(0),
    }


def test_tensors_and_header_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.safetensors"
    write_tensors(path, tensors(), HEADER)
    read, header = read_tensors(path)
    assert header == HEADER
    assert read.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)
        assert not read[name].requires_grad
    assert os.listdir(path.parent) == [path.name]


def test_a_header_with_numbers_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_tensors(tmp_path / "a", {}, {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


def test_writing_replaces_the_old_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old and longer")
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, old: bytes | None, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "a.safetensors"
    if old is not None:
        path.write_bytes(old)
    with file_size_limit(5000), pytest.raises(OSError):
        write_tensors(path, {"x": torch.zeros(10_000)}, {})
    assert os.listdir(tmp_path) == ([] if old is None else [path.name])
    assert old is None or path.read_bytes() == old


def test_a_failing_rename_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "a", b"old")

    def failing(source: Path, target: Path) -> None:
        assert Path(source).read_bytes() == b"new", "the new data must be complete before it replaces the old"
        raise OSError("no")

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no"):
        write_bytes(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_data_is_on_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (calls.append("fsync"), sync(number))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b))[1])
    write_bytes(tmp_path / "a", b"x")
    assert calls == ["fsync", "replace"]


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_tensors(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path} ") and "\n" not in sentence
    return sentence


def test_a_file_truncated_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": torch.arange(6.0).reshape(2, 3)}, {"a": 1})
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert "is damaged" in refused(path)
    path.write_bytes(whole + b"\0")
    assert "is damaged" in refused(path)


def _safetensors(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "is damaged"),
        (b"\0" * 100, "is damaged"),
        (b"\xff" * 100, "is damaged"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "is damaged"),
        (b"\x80\x04\x95" + b"." * 50, "is damaged"),
        (save({"x": torch.zeros(2)}), "no asc header"),
        (save({"x": torch.zeros(2)}, metadata={"format": "pt"}), "no asc header"),
        (save({"x": torch.zeros(2)}, metadata={"asc": "[1]"}), "no asc header"),
        (save({"x": torch.zeros(2)}, metadata={"asc": '{"a": '}), "is damaged"),
        (save({"x": torch.zeros(2)}, metadata={"asc": ""}), "is damaged"),
        (save({"x": torch.zeros(2)}, metadata={"asc": "[" * 100_000}), "is damaged"),
        (_safetensors({"x": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}), "is damaged"),
        (_safetensors({"x": {"dtype": "Q7", "shape": [], "data_offsets": [0, 0]}}), "is damaged"),
    ],
)
def test_foreign_and_damaged_files_are_refused(tmp_path: Path, data: bytes, part: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    assert part in refused(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none")
    assert "does not exist" in refused(tmp_path)
    assert "File name too long" in refused(tmp_path / ("x" * 300))
