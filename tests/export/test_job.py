"""An export writes all of its files or none, also if the disk is full or the machine dies between two files."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_networks import info_of, trained
from unrun_export import GATE, SPEED, NoSession

from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.export.clips import Progress
from asc.export.formats import Export, Format, Source
from asc.export.job import EVERY, GateError, export_all, write_all
from asc.export.onnx import build_onnx
from asc.export.record import Measured, Record, records, tree
from asc.models.stored import StoredNet

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
        return export, records(export, network, info, measured=Measured(gate=GATE, latency=SPEED), data="csv:meta.csv")

    return [one("log_mel", "model.onnx"), one("waveform", "model-waveform.onnx")]


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("earlier", [{}, dict.fromkeys(NAMES, b"of an earlier export")])
def test_a_disk_full_after_the_first_file_leaves_the_folder_as_it_was(
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


def test_old_figures_are_never_left_beside_a_new_file(
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


class Torch:
    """The stored network as a session whose logits are `steps` steps too high."""

    def __init__(self, network: StoredNet, steps: float, step: float | None = None) -> None:
        """`step` is one step of the logits; that of the last layer's grid if there is one."""
        self.network, self.off = network, steps * (step or float(network.classifier.output.scale))
        self.runs = 0

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        self.runs += 1
        found: NDArray[np.float32] = self.network(torch.from_numpy(x)).numpy() + np.float32(self.off)
        return found


@contextmanager
def unseen(name: str) -> Iterator[Progress]:
    yield lambda done, of: None


@pytest.fixture
def checked(
    tiny_experiment: Experiment, tiny_dataset: Dataset
) -> Callable[[Mapping[str, int], Mapping[Format, str]], dict[Format, Record]]:
    """Runs an export with correct default kernels and with other kernels that are off by the given steps."""
    network = trained(tiny_experiment, tiny_dataset, storage="int8", steps=4)
    info = info_of(tiny_experiment, tiny_dataset, network)

    def run(kernels: Mapping[str, int], decisive: Mapping[Format, str]) -> dict[Format, Record]:
        export = Export(
            source="log_mel",
            data=b"bytes",
            files={"litert": {"model.tflite": b"bytes"}, "c-array": {"model_data.c": b"text"}},
            session=Torch(network, 0),
            shortest_samples=4000,
            longest_samples=4000,
            kernels={name: Torch(network, steps) for name, steps in kernels.items()},
            decisive=decisive,
        )
        makers = {"model.tflite": lambda: export}
        ((_, found),) = export_all(network, info, tiny_dataset, makers, clips=17, seconds=0.5, running=unseen)
        return {record.format: record for record in found}

    return run


def test_other_kernels_are_measured_and_reported_even_if_they_fail_the_gate(
    checked: Callable[..., dict[Format, Record]],
) -> None:
    found = checked({"optimised": 3, "reference": 2}, {"c-array": "reference"})
    for record in found.values():
        optimised, reference = record.kernels
        assert (optimised.name, optimised.gate.passed, reference.name, reference.gate.passed) == (
            "optimised",
            False,
            "reference",
            True,
        )
        assert optimised.gate.clips == -(-17 // EVERY) and optimised.latency.milliseconds > 0
    assert (found["litert"].gate.clips, found["litert"].gate.largest_steps) == (17, 0.0)
    assert found["c-array"].gate == reference.gate and found["c-array"].latency == reference.latency
    said = tree(found["litert"])["kernels"]
    assert [each["gate"]["passed"] for each in said] == [False, True]
    assert said[0]["gate"]["largest_steps"] == pytest.approx(3.0, abs=1e-3)


def test_a_format_whose_own_kernels_fail_is_refused(checked: Callable[..., dict[Format, Record]]) -> None:
    with pytest.raises(
        GateError, match=r"model.tflite, run by reference kernels, does not agree .* 3.0 steps off, 2 are"
    ):
        checked({"reference": 3}, {"c-array": "reference"})


def test_kernels_of_a_float_network_have_no_steps_more(tiny_experiment: Experiment, tiny_dataset: Dataset) -> None:
    """Nothing requantises in fixed point there."""
    network = trained(tiny_experiment, tiny_dataset, storage="float16", steps=4)
    step = 1e-4  # of the largest logit, or of 1 if that is larger
    export = Export(
        source="log_mel",
        data=b"bytes",
        files={"litert": {"model.tflite": b"bytes"}},
        session=Torch(network, 0, step),
        shortest_samples=4000,
        longest_samples=4000,
        kernels={"reference": Torch(network, 0.5, step), "optimised": Torch(network, 100, step)},
    )
    info = info_of(tiny_experiment, tiny_dataset, network)
    makers = {"model.tflite": lambda: export}
    ((_, (record,)),) = export_all(network, info, tiny_dataset, makers, clips=17, seconds=0.5, running=unseen)
    assert [(kernels.gate.limit_steps, kernels.gate.passed) for kernels in record.kernels] == [(1, True), (1, False)]
