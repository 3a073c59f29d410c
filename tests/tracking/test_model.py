"""The folder of an MLflow model, and a model served on loopback: its answers to a real clip and to bad input."""

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas
import pytest
import requests
import soundfile
import torch
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModelContext
from packaging.requirements import Requirement
from patience import PATIENCE_S

import asc
from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.model_file.artefact import save_model
from asc.model_file.model_info import DataIdentity, ModelInfo
from asc.models.build import build_network
from asc.models.conversion import to_integer
from asc.results import Evaluation, GroupFigures
from asc.runs.model_card import Origin, model_card
from asc.tracking.mlflow import send_journal
from asc.tracking.model import registered_name, requirements
from asc.tracking.served_model import ServedModel

CLIP = Path(__file__).parents[3] / "shared" / "data" / "esc10" / "audio" / "1-100032-A-dog.ogg"
LABELS = ("dog", "rain", "sea_waves", "sneezing")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory, tiny_experiment: Experiment) -> tuple[bytes, str]:
    """A real model file, whose network gives different waveforms different probabilities, and its card."""
    network = build_network(tiny_experiment.architecture, tiny_experiment.front_end, seed=3).train()
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        network(torch.randn(8, 1, 16, 40, generator=generator) * 3 - 4)
    rows = (GroupFigures(name="dog", clips=3, log_loss=1.1, accuracy=1 / 3),)
    info = ModelInfo(
        experiment=tiny_experiment,
        labels=LABELS,
        data=DataIdentity(choice=DataChoice("esc10:somewhere"), digest="0" * 64),
        evaluation=Evaluation(
            split="valid",
            clips=3,
            log_loss=1.1,
            accuracy=1 / 3,
            micro_log_loss=1.2,
            micro_accuracy=0.25,
            per_class=rows,
            per_device=rows,
        ),
    )
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, to_integer(network.eval()), info)
    return path.read_bytes(), model_card(info, Origin(run="night"))


@pytest.fixture
def searched(script: Any, database: str, model_file: tuple[bytes, str]) -> str:
    """The URI of an MLflow to which a search and its best model were sent."""
    script.started()
    script.trial("t000", "completed", 1.2)
    script.files(*model_file)
    script.run_ended(best="t000")
    assert send_journal(script.folder, uri=database).problem is None
    return database


def folder_of(uri: str) -> Path:
    (version_,) = MlflowClient(uri).search_model_versions("name = 'night'")
    return Path(version_.source.removeprefix("file://"))


def test_nothing_is_pickled_and_loading_does_not_unpickle(searched: str) -> None:
    folder = folder_of(searched)
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".joblib", ".pt", ".pth", ".pyc"))]
    assert not [name for name, path in files.items() if path.read_bytes()[:1] == b"\x80"], (
        "pickles start with this byte"
    )
    flavour = yaml.safe_load(files["MLmodel"].read_text())["flavors"]["python_function"]
    assert flavour["loader_module"] == "mlflow.pyfunc.loaders.code_model"
    assert (flavour["model_code_path"], flavour["code"]) == ("served_model.py", "code")
    assert "python_model" not in flavour


def test_it_has_a_signature_and_an_example(searched: str, model_file: tuple[bytes, str]) -> None:
    folder = folder_of(searched)
    signature = yaml.safe_load((folder / "MLmodel").read_text())["signature"]
    inputs, outputs = (json.loads(signature[side]) for side in ("inputs", "outputs"))
    assert [(column["name"], column["type"]) for column in inputs] == [
        ("waveform", "array"),
        ("sample_rate_hz", "any"),
    ]
    assert [column["name"] for column in outputs] == ["label", "probability", "probabilities"]
    assert signature["params"] is None
    example = json.loads((folder / "serving_input_example.json").read_text())["dataframe_split"]
    assert example["columns"] == ["waveform", "sample_rate_hz"] and len(example["data"][0][0]) == 4000
    assert (folder / "artifacts" / "model.safetensors").read_bytes() == model_file[0]
    assert (folder / "model_card.md").read_text() == model_file[1]


def test_it_contains_no_path_of_this_machine_and_works_after_it_is_moved(
    searched: str, tmp_path: Path, model_file: tuple[bytes, str]
) -> None:
    moved = tmp_path / "elsewhere"
    folder_of(searched).rename(moved)
    for path in moved.rglob("*"):
        if path.is_file() and "code" not in path.relative_to(moved).parts:
            assert not re.search(rb"file:|/tmp/|" + re.escape(str(tmp_path).encode()), path.read_bytes()), path
    (tmp_path / "model.safetensors").write_bytes(model_file[0])
    tone = (0.1 * np.sin(np.arange(4000))).astype(np.float32)
    expected = asc.load(tmp_path / "model.safetensors").predict(tone, 8000)
    served = mlflow.pyfunc.load_model(str(moved))
    (row,) = served.predict(pandas.DataFrame({"waveform": [tone], "sample_rate_hz": [8000]})).to_dict("records")
    assert row == {
        "label": expected.label,
        "probability": expected.probability,
        "probabilities": dict(zip(LABELS, expected.probabilities, strict=True)),
    }


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory, model_file: tuple[bytes, str]) -> ServedModel:
    path = tmp_path_factory.mktemp("served") / "model.safetensors"
    path.write_bytes(model_file[0])
    model = ServedModel()
    model.load_context(PythonModelContext(artifacts={"model": str(path)}, model_config=None))
    return model


@pytest.mark.parametrize(
    ("waveform", "rate", "said"),
    [
        ([0.1] * 4000, "8000", "row 1: sample_rate_hz is '8000': give a number"),
        ([0.1] * 4000, None, "row 1: sample_rate_hz is None: give a number"),
        ([0.1] * 4000, float("nan"), "row 1: a sample rate of nan Hz"),
        (["0.1"] * 4000, 8000, "row 1: the waveform is not a list of numbers"),
        ([True, False] * 2000, 8000, "row 1: the waveform is not a list of numbers"),
        ([10**30] * 4000, 8000, "row 1: the waveform is not a list of numbers"),
        ([[0.1] * 4000, [0.1]], 8000, "row 1: the waveform is not a list of numbers"),
        (None, 8000, "row 1: the waveform is not a list of numbers"),
        ([3000, -2] * 2000, 8000, "row 1: samples reach 3000, but full scale is 1"),
        ([], 8000, "row 1: a waveform must have the shape"),
    ],
)
def test_input_that_is_not_sound_is_refused_in_one_sentence(
    in_process: ServedModel, waveform: Any, rate: Any, said: str
) -> None:
    context = PythonModelContext(artifacts={}, model_config=None)
    frame = pandas.DataFrame({"waveform": [waveform], "sample_rate_hz": [rate]})
    with pytest.raises(MlflowException, match=re.escape(said)) as refused:
        in_process.predict(context, frame)
    assert refused.value.get_http_status_code() == 400


def test_its_requirements_are_pinned_to_the_installed_versions(searched: str) -> None:
    lines = (folder_of(searched) / "requirements.txt").read_text().split()
    assert lines == requirements()
    for requirement in map(Requirement, lines):
        (pin,) = requirement.specifier
        assert pin.operator == "==" and "+" not in pin.version, "package indexes have no local versions"
        assert requirement.specifier.contains(version(requirement.name))


def imported(name: str) -> tuple[set[str], set[str]]:
    """The modules of asc and the packages that a module imports at its top level."""
    modules = {module for node in ast.parse(_source(name).read_text("utf-8")).body for module in _modules(node)}
    ours = {module for module in modules if module.startswith("asc.") and _source(module).is_file()}
    return ours, {module.split(".")[0] for module in modules} - {"asc", *sys.stdlib_module_names}


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def _source(name: str) -> Path:
    path = Path(asc.__file__).parent.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def test_its_requirements_are_what_its_code_and_the_modules_it_needs_import() -> None:
    seen: set[str] = set()
    packages: set[str] = set()
    # The last is imported by the first file that needs it.
    waiting = {"asc.tracking.served_model", "asc.inference.predict", "asc.audio.av_audio"}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        ours, others = imported(name)
        waiting |= ours - seen
        packages |= others
    assert "asc.audio.torchaudio_compat" in seen, "it imports torchaudio by name at its first use"
    packages.add("torchaudio")
    assert {package.replace("_", "-") for package in packages} == {Requirement(line).name for line in requirements()}


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("night", "night"),
        ("a b:c/d", "a_b_c_d"),
        ("gr\u00f6\u00dfe-1.2", "gr\u00f6\u00dfe-1.2"),
        ("x?y#z%41'\"", "x_y_z_41__"),
    ],
)
def test_the_registered_name_is_valid_in_mlflow(database: str, run: str, name: str) -> None:
    assert registered_name(run) == name
    assert MlflowClient(database).create_registered_model(name).name == name


class Served:
    """`mlflow models serve` on loopback, as in docs/mlflow.md."""

    def __init__(self, uri: str, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/night/1", "--env-manager", "local"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "OMP_NUM_THREADS": "1"}
        environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
        environment.pop("PYTHONPATH", None)  # the model brings its own asc
        self._log = folder / "serve.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=folder
            )

    def wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert self._process.poll() is None and time.monotonic() < deadline, self._log.read_text()
            try:
                if requests.get(f"http://127.0.0.1:{self.port}/ping", timeout=PATIENCE_S).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.1)

    def ask(self, body: object) -> requests.Response:
        return requests.post(f"http://127.0.0.1:{self.port}/invocations", json=body, timeout=PATIENCE_S)

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def served(searched: str, tmp_path: Path) -> Iterator[Served]:
    one = Served(searched, tmp_path)
    try:
        one.wait()
        yield one
    finally:
        one.stop()


def test_a_served_model_predicts_like_asc_and_explains_bad_input(
    served: Served, searched: str, model_file: tuple[bytes, str], tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(model_file[0])
    waveform, rate_hz = soundfile.read(CLIP, dtype="float32")
    half = waveform[: len(waveform) // 2]
    expected = [asc.load(tmp_path / "model.safetensors").predict(sound, rate_hz) for sound in (waveform, half)]
    rows = [[sound.tolist(), rate_hz] for sound in (waveform, half)]
    columns = ["waveform", "sample_rate_hz"]

    answer = served.ask({"dataframe_split": {"columns": columns, "data": rows}})
    assert answer.status_code == 200, answer.text
    for row, prediction in zip(answer.json()["predictions"], expected, strict=True):
        assert row["label"] == prediction.label
        assert list(row["probabilities"]) == list(LABELS)
        np.testing.assert_allclose(list(row["probabilities"].values()), prediction.probabilities, atol=1e-6, rtol=0)
        assert row["probability"] == pytest.approx(max(prediction.probabilities), abs=1e-6)
    assert len({round(p, 3) for p in expected[0].probabilities}) == len(LABELS), "the probabilities must differ"

    example = json.loads((folder_of(searched) / "serving_input_example.json").read_text())
    assert served.ask(example).json()["predictions"][0]["label"] in LABELS
    records = served.ask({"dataframe_records": [{"waveform": rows[0][0], "sample_rate_hz": rate_hz}]})
    assert records.json()["predictions"] == answer.json()["predictions"][:1]
    whole, decimal = (
        served.ask({"dataframe_split": {"columns": columns, "data": [[[kind(n % 3 - 1) for n in range(4000)], rate]]}})
        for kind, rate in ((int, 8000), (float, 8000.0))
    )
    assert whole.status_code == 200, whole.text
    assert whole.json() == decimal.json()
    bad: list[tuple[list[object], str]] = [
        ([rows[1], [[0.0] * 4000, 0]], "row 2: "),
        ([[[], 8000]], "row 1: "),
        ([["loud", 8000]], "waveform"),
        ([[None, 8000]], "waveform"),
        ([[[0.5, None], 8000]], "row 1: the waveform is not a list of numbers"),
        ([rows[1], [[0.5] * 4000, 8000.5]], "row 2: a sample rate of 8000.5 Hz cannot be used"),
        ([[[0.0, 5000.0] * 4000, 8000]], "row 1: samples reach 5000"),
    ]
    for data, part in bad:
        refused = served.ask({"dataframe_split": {"columns": columns, "data": data}})
        assert refused.status_code == 400, refused.text
        assert part in refused.json()["message"]
    missing = served.ask({"dataframe_split": {"columns": ["waveform"], "data": [[rows[0][0]]]}})
    assert missing.status_code == 400 and "sample_rate_hz" in missing.json()["message"]
