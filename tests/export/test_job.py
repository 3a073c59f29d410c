"""All files of an export or none: what a full disk, or a machine that dies between two of them, leaves."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tiny_networks import info_of, trained
from unrun_export import GATE, SPEED, NoSession

from asc.config import Experiment
from asc.data.dataset import Dataset
from asc.export.formats import Export, Source
from asc.export.job import write_all
from asc.export.onnx import build_onnx
from asc.export.record import Record, records

Passed = Sequence[tuple[Export, tuple[Record, ...]]]
NAMES = ["model-waveform.onnx", "model-waveform.onnx.json", "model.onnx", "model.onnx.json"]


@pytest.fixture(scope="module")
def passed(tiny_experiment: Experiment, tiny_dataset: Dataset) -> Passed:
    network = trained(tiny_experiment, tiny_dataset, storage="int8", steps=4)
    info = info_of(tiny_experiment, tiny_dataset, network)

    def one(source: Source, file: str) -> tuple[Export, tuple[Record, ...]]:
        data = build_onnx(network, info, source=source)
        export = Export(
            source=source,
            data=data,
            files={"onnx": {file: data}},
            session=NoSession(),
            shortest_samples=800,
            longest_samples=None,
        )
        return export, records(export, network, info, gate=GATE, speed=SPEED, data="csv:meta.csv")

    return [one("log_mel", "model.onnx"), one("waveform", "model-waveform.onnx")]


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("earlier", [{}, dict.fromkeys(NAMES, b"of an earlier export")])
def test_a_disk_that_has_room_for_the_first_only_leaves_the_folder_as_it_was(
    passed: Passed,
    earlier: dict[str, bytes],
    tmp_path: Path,
    file_size_limit: Callable[[int], AbstractContextManager[None]],
) -> None:
    for name, data in earlier.items():
        (tmp_path / name).write_bytes(data)
    small, large = (len(export.data) for export, _ in passed)
    assert small < large
    with file_size_limit(large - 1), pytest.raises(OSError):
        write_all(tmp_path, passed, card=tmp_path / "model_card.md")
    assert contents_of(tmp_path) == earlier
    write_all(tmp_path, passed, card=tmp_path / "model_card.md")
    assert sorted(contents_of(tmp_path)) == NAMES
    assert (tmp_path / "model-waveform.onnx").read_bytes() == passed[1][0].data


def test_old_figures_never_lie_beside_a_new_file(
    passed: Passed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(b"of an earlier export")
    replace = os.replace

    def dies(source: Path, target: Path) -> None:
        if target.name == "model-waveform.onnx":
            raise OSError("the machine died")
        replace(source, target)

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(OSError, match="died"):
        write_all(tmp_path, passed, card=tmp_path / "model_card.md")
    left = contents_of(tmp_path)
    assert sorted(left) == ["model-waveform.onnx", "model.onnx", "model.onnx.json"]
    assert left["model.onnx"] == passed[0][0].data and left["model.onnx.json"] != b"of an earlier export"
