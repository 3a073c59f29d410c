"""launch/export.py as a user starts it, on a briefly trained network; real runtimes run the files."""

import dataclasses
import hashlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from launched import launched
from onnx_networks import with_int8_weights
from tiny_networks import info_of, trained

from asc.audio.frontend import LogMel
from asc.config.data_choice import DataChoice
from asc.config.experiment import Compression, Experiment
from asc.data.dataset import Dataset
from asc.export import onnx as onnx_export
from asc.export.job import EVERY
from asc.export.processor import kind, this_machine
from asc.model_file.artefact import load_model, save_model

FILES = {
    "onnx": ["model-waveform.onnx", "model.onnx"],
    "executorch": ["model.pte"],
    "litert": ["model.tflite"],
    "c-array": ["model_data.c", "model_data.h"],
}
NEEDS = {"executorch": "executorch", "litert": "litert_torch", "c-array": "litert_torch"}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, tiny_experiment: Experiment, tiny_dataset: Dataset) -> Path:
    network = trained(tiny_experiment, tiny_dataset, storage="int8")
    path = tmp_path_factory.mktemp("stored") / "model.safetensors"
    save_model(path, network, info_of(tiny_experiment, tiny_dataset, network))
    return path


@pytest.fixture
def model(stored: Path, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(stored.read_bytes())
    return path


@pytest.fixture
def half_model(tmp_path: Path, tiny_experiment: Experiment, tiny_dataset: Dataset) -> Path:
    experiment = Experiment(
        front_end=tiny_experiment.front_end,
        architecture=tiny_experiment.architecture,
        compression=Compression(storage="float16"),
    )
    network = trained(experiment, tiny_dataset, storage="float16", steps=10)
    path = tmp_path / "half.safetensors"
    save_model(path, network, info_of(experiment, tiny_dataset, network))
    return path


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_cache: Path) -> Run:
    monkeypatch.setenv("ASC_CACHE", str(tiny_cache))

    def run(*options: object) -> tuple[int, str, str]:
        code = launched("export.py", *map(str, options))
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("name", FILES)
def test_every_format_is_written_with_a_json_file_of_its_figures(name: str, model: Path, export: Run) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"--to {name} needs an extra")
    code, out, err = export(model, "--to", name, "--clips", 20, "--seconds", 0.7, "--json")
    assert code == 0, err
    found = json.loads(out)
    folder = model.parent / "export"
    assert found["output"] == str(folder)
    beside = [f"{record['file']}.json" for record in found["exports"]]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES[name], *beside])
    kernels = None
    if name == "c-array":
        kernels = "TFLite Micro" if importlib.util.find_spec("tflite_micro") else "reference"
        assert f"// checked with: XNNPACK and {kernels} kernels; " in (folder / "model_data.h").read_text()
    for record in found["exports"]:
        assert json.loads((folder / f"{record['file']}.json").read_text()) == record
        gate = record["gate"]
        assert gate["passed"] is True and gate["clips"] == (20 if kernels is None else -(-20 // EVERY))
        assert record["gate_kernels"] == kernels
        assert gate["argmax_differs"] == gate["argmax_excused"] and gate["largest_steps"] <= gate["limit_steps"] + 0.5
        assert record["over_payload_bytes"] == record["size_bytes"] - record["payload_bytes"]
        assert record["latency"]["milliseconds"] > 0 and record["versions"]["torch"] == torch.__version__
        if name != "c-array":
            data = (folder / record["file"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (record["size_bytes"], record["sha256"])
    assert "one step is" in err and f"written to {folder}" in err


def test_the_onnx_files_run_in_onnxruntime_on_the_waveform_and_on_our_log_mel(
    model: Path, export: Run, tiny_dataset: Dataset
) -> None:
    import onnxruntime

    code, _, err = export(model, "--clips", 5)
    assert code == 0, err
    network, _ = load_model(model)
    waveform = tiny_dataset.waveform(int(tiny_dataset.indices("valid")[0]))[None]
    log_mel = LogMel(network.front_end)(torch.from_numpy(waveform))
    stored = network(log_mel).numpy()
    for file, x in (("model.onnx", log_mel.numpy()), ("model-waveform.onnx", waveform)):
        session = onnxruntime.InferenceSession(model.parent / "export" / file)
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
        assert np.abs(found - stored).max() < 2.1 * float(network.dense.output.scale)


@pytest.mark.parametrize("damage", ["weight_scale", "bias"])
def test_a_damaged_export_is_refused_and_nothing_is_written(
    model: Path, export: Run, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    honest = onnx_export.build_onnx

    def damaged(network: Any, info: Any, *, source: Any, compact: bool) -> bytes:
        other, _ = load_model(model)
        if damage == "weight_scale":
            other.get_submodule("blocks.1.conv1").weight_scale[0] *= 1.5
        else:
            step = other.dense.output.scale / (other.dense.weight_scale[1] * other.pool_output.scale)
            other.dense.bias[1] += int(3 * step)
        return honest(other if source == "waveform" else network, info, source=source, compact=compact)

    monkeypatch.setattr(onnx_export, "build_onnx", damaged)
    code, out, err = export(model)
    assert code == 1, "a fault of asc must not have the exit code of wrong input"
    last = err.splitlines()[-1]
    assert last.startswith("error: model-waveform.onnx does not agree with the stored form (")
    assert "nothing was written" in last and "Traceback" not in err
    assert list((model.parent / "export").iterdir()) == []


def test_a_file_that_is_wrong_on_some_processors_is_refused_on_all(
    model: Path, export: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = onnx_export.build_onnx
    monkeypatch.setattr(onnx_export, "build_onnx", lambda *given, **how: with_int8_weights(honest(*given, **how)))
    code, out, err = export(model, "--clips", 5)
    assert code == 1 and out == ""
    assert "error: model.onnx does not agree with the stored form (" in err
    assert "pairs of products can overflow on x86 without VNNI)" in err and "nothing was written" in err
    assert list((model.parent / "export").iterdir()) == []


@pytest.mark.parametrize(("options", "functions"), [([], False), (["--compact"], True)])
def test_functions_are_written_only_with_compact(model: Path, export: Run, options: list[str], functions: bool) -> None:
    card = model.parent / "model_card.md"
    card.write_text("# A model\n", "utf-8")
    code, out, err = export(model, "--clips", 5, "--json", *options)
    assert code == 0, err
    page = card.read_text("utf-8")
    assert page.startswith("# A model\n\n## Exports\n\n- `model.onnx`: ") and page.count("\n- `") == 2
    assert page.count(f"on {kind(*this_machine())}, no logit") == page.count("emulated: none of its ") == 2
    for record in json.loads(out)["exports"]:
        written = onnx.load(model.parent / "export" / record["file"])
        assert bool(written.functions) == functions == bool(record["around"]["functions"])
        assert record["products"]["pairs"] > 0 and record["products"]["overflowing"] == 0
        assert record["processor"] == kind(*this_machine())
    assert f"checked with default session options on {kind(*this_machine())}" in err


@pytest.mark.parametrize(
    ("name", "bytes_per_value", "records"), [("onnx", 2, 2), ("litert", 2, 1), ("executorch", 4, 1)]
)
def test_float16_networks_are_exported_to_within_rounding(
    name: str, bytes_per_value: int, records: int, half_model: Path, export: Run
) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"--to {name} needs an extra")
    code, out, err = export(half_model, "--to", name, "--clips", 20, "--seconds", 0.7, "--json")
    assert code == 0, err
    found = json.loads(out)["exports"]
    assert len(found) == records
    for record in found:
        gate, payload = record["gate"], record["payload_bytes"]
        assert gate["passed"] is True and (gate["clips"], gate["limit_steps"]) == (20, 1)
        assert record["size_bytes"] > payload * bytes_per_value / 2 and record["gate_kernels"] is None
        assert all(kernels["gate"]["passed"] and kernels["gate"]["limit_steps"] == 1 for kernels in record["kernels"])
    assert f"written to {half_model.parent / 'export'}" in err


def test_float16_networks_are_refused_for_devices_that_cannot_read_them(half_model: Path, export: Run) -> None:
    code, _, err = export(half_model, "--to", "onnx", "c-array")
    assert code == 2
    assert err == (
        "error: --to c-array takes 8-bit networks only: TensorFlow Lite Micro cannot read the float16 weights of this "
        "one; export it --to litert, executorch or onnx\n"
    )
    assert not (half_model.parent / "export").exists()


@pytest.mark.parametrize(("name", "extra"), [("executorch", "executorch"), ("litert", "litert"), ("c-array", "litert")])
def test_a_missing_extra_is_named_before_any_work(
    model: Path, export: Run, monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    code, out, err = export(model, "--to", "onnx", name)
    assert code == 2 and out == ""
    assert err.startswith(f"error: --to {name} needs the extra {extra}: ") and f"[{extra}]" in err
    assert not (model.parent / "export").exists()


def test_data_with_other_labels_can_be_used(model: Path, export: Run, tmp_path: Path, tiny_csv: Path) -> None:
    for label in ("one", "two"):
        (tmp_path / "other" / label).mkdir(parents=True)
    for number, wave in enumerate(sorted(tiny_csv.parent.glob("*.wav"))[:24]):
        (tmp_path / "other" / ("one", "two")[number % 2] / wave.name).write_bytes(wave.read_bytes())
    code, out, err = export(model, "--data", f"folder:{tmp_path / 'other'}", "--json", "--output", tmp_path / "there")
    assert code == 0, err
    record = json.loads(out)["exports"][0]
    assert record["data"] == f"folder:{tmp_path / 'other'}" and 0 < record["gate"]["clips"] < 24
    assert (tmp_path / "there" / "model.onnx").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--clips", 0], "--clips 0: an export is checked on at least 1 clip"),
        (["--seconds", "nan"], "--seconds nan: give 0.2 to 600"),
        (["--seconds", 0.1], "--seconds 0.1: give 0.2 to 600"),
        (["--output", "/proc/nothing"], "/proc/nothing cannot be written"),
        (["--data", "folder:/nowhere"], "/nowhere"),
    ],
)
def test_wrong_input_gives_one_sentence(model: Path, export: Run, options: list[object], sentence: str) -> None:
    code, out, err = export(model, *options)
    assert code == 2 and out == ""
    assert err.startswith("error: ") and sentence in err and err.count("\n") == 1


def test_data_that_moved_are_reported_with_advice(model: Path, export: Run) -> None:
    network, info = load_model(model)
    gone = dataclasses.replace(info.data, choice=DataChoice("csv:/gone/meta.csv"))
    save_model(model, network, dataclasses.replace(info, data=gone))
    code, _, err = export(model)
    assert code == 2 and "/gone/meta.csv" in err and "--data" in err and err.count("\n") == 1
