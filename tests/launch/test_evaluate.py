"""launch/evaluate.py as a user starts it, on a stored network that only has batch norm statistics of noise."""

import csv
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from launched import launched, refusal
from sklearn.metrics import balanced_accuracy_score, log_loss

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.data.dataset import Dataset, open_dataset
from asc.data.manifest import Manifest
from asc.evaluation.evaluate import Evaluator
from asc.model_file.artefact import load_model, save_model
from asc.model_file.model_info import DataIdentity, ModelInfo
from asc.models.build import build_network
from asc.models.conversion import to_integer
from asc.results import CalibrationReport
from asc.runs.events import RunStarted
from asc.runs.journal import Journal

ALL = ["confusion.png", "evaluation.json", "predictions.csv", "reliability.png", "table.md"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def seen_csv(tiny_csv: Path) -> Path:
    """The tiny set with device b in the test fold only."""
    rows = list(csv.DictReader(tiny_csv.open()))
    kept = [row for row in rows if row["device"] == "a" or row["fold"] == "1"]
    path = tiny_csv.with_name("seen.csv")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(kept)
    return path


@pytest.fixture(scope="module")
def stored(
    tmp_path_factory: pytest.TempPathFactory, tiny_experiment: Experiment, seen_csv: Path, tiny_cache: Path
) -> Path:
    rate_hz = tiny_experiment.front_end.sample_rate_hz
    dataset = open_dataset(DataChoice(f"csv:{seen_csv}"), sample_rate_hz=rate_hz, cache=tiny_cache)
    network = build_network(tiny_experiment.architecture, tiny_experiment.front_end, seed=3).train()
    for _ in range(4):
        network(torch.randn(8, 1, 16, 40, generator=torch.Generator().manual_seed(0)) * 3)
    integer = to_integer(network)
    evaluator = Evaluator(dataset, "valid", tiny_experiment.front_end, torch.device("cpu"))
    data = DataIdentity(choice=dataset.manifest.choice, digest=dataset.manifest.digest)
    info = ModelInfo(
        experiment=tiny_experiment, labels=dataset.labels, data=data, evaluation=evaluator.evaluate(integer)
    )
    path = tmp_path_factory.mktemp("stored") / "model.safetensors"
    save_model(path, integer, info)
    return path


@pytest.fixture
def model(stored: Path, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(stored.read_bytes())
    return path


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_cache: Path) -> Run:
    monkeypatch.setenv("ASC_CACHE", str(tiny_cache))

    def run(*options: object) -> tuple[int, str, str]:
        code = launched("evaluate.py", *map(str, options))
        return code, *capsys.readouterr()

    return run


def changed(model: Path, **changes: Any) -> None:
    network, info = load_model(model)
    save_model(model, network, replace(info, **changes))


def test_figures_files_and_predictions_agree_with_scikit_learn(model: Path, evaluate: Run, seen_csv: Path) -> None:
    code, out, err = evaluate(model, "--split", "test", "--json")
    assert code == 0 and "note" not in err, err
    found = json.loads(out)
    folder = model.parent / "evaluation-test"
    assert found["output"] == str(folder) and sorted(path.name for path in folder.iterdir()) == ALL
    written = json.loads((folder / "evaluation.json").read_text())
    assert {key: value for key, value in found.items() if key != "output"} == written

    label_of = {row["filename"]: row["label"] for row in csv.DictReader(seen_csv.open())}
    rows = list(csv.DictReader((folder / "predictions.csv").open(), delimiter="\t"))
    labels = list(rows[0])[2:]
    assert labels == sorted(set(label_of.values())) and len(rows) == found["clips"] == 24
    targets = np.array([labels.index(label_of[row["filename"]]) for row in rows])
    scores = np.array([[float(row[label]) for label in labels] for row in rows])
    weights = 1 / np.bincount(targets)[targets]
    assert found["log_loss"] == pytest.approx(
        log_loss(targets, scores, sample_weight=weights, labels=range(4)), rel=1e-6
    )
    assert found["accuracy"] == pytest.approx(balanced_accuracy_score(targets, scores.argmax(axis=1)))
    assert np.trace(found["confusion"]["counts"]) == sum(
        row["scene_label"] == label_of[row["filename"]] for row in rows
    )

    assert [(row["name"], row["clips"]) for row in found["per_exposure"]] == [("seen", 12), ("unseen", 12)]
    assert found["intervals"]["groups"] == 12 and found["optimistic"] is False and found["published"] is None
    low, high = found["intervals"]["log_loss"]["low"], found["intervals"]["log_loss"]["high"]
    assert low < found["log_loss"] < high


def test_on_the_validation_split_it_gives_the_figures_stored_by_training(
    model: Path, evaluate: Run, tmp_path: Path
) -> None:
    code, out, err = evaluate(model, "--json", "--output", tmp_path / "elsewhere")
    found = json.loads(out)
    _, info = load_model(model)
    assert code == 0 and round(found["log_loss"], 4) == info.evaluation.log_loss
    assert round(found["calibration_error"], 4) == info.evaluation.calibration_error
    assert info.evaluation.intervals is None and info.evaluation.per_exposure == ()
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == sorted([*ALL, "mistakes.json"])
    code, out, err = evaluate(model)
    assert code == 0 and "valid split" in out and "average" in out and "written to" in out
    assert err.startswith("note: no intervals: every class has a single location here") and err.count("\n") == 1


def test_an_optimistic_model_is_marked_everywhere(model: Path, evaluate: Run) -> None:
    report = CalibrationReport(
        method="multinomial",
        split="test",
        clips=24,
        groups=12,
        shrunk_towards="identity",
        gain_standard_error=0.01,
        strength=1.0,
        temperature=1.0,
        log_loss_uncalibrated=1.0,
        log_loss_temperature=1.0,
        log_loss_method=0.9,
        applied=True,
    )
    changed(model, calibration=report)
    code, out, err = evaluate(model, "--split", "test")
    assert code == 0 and "note: multinomial calibration on 24 clips of the test split, applied" in err
    titles = [line for line in out.splitlines() if line.startswith(("test split", "Per ", "Devices", "written"))]
    assert len(titles) == 5 and all("optimistic" in title for title in titles), titles
    folder = model.parent / "evaluation-test"
    assert json.loads((folder / "evaluation.json").read_text())["optimistic"] is True
    assert (folder / "OPTIMISTIC.txt").is_file()


def test_a_final_model_is_refused_on_its_own_data_set(
    model: Path, evaluate: Run, seen_csv: Path, tmp_path: Path
) -> None:
    _, info = load_model(model)
    changed(model, data=replace(info.data, choice=replace(info.data.choice, part="all")))
    same_audio = f"csv:{seen_csv.with_name('meta.csv')}"
    for options in ((), ("--split", "test"), ("--data", f"csv:{seen_csv}"), ("--data", same_audio)):
        code, out, err = evaluate(model, *options)
        assert (code, out) == (2, "") and err.count("\n") == 1 and "test fold included" in err
    other = shutil.copytree(seen_csv.parent, tmp_path / "other")
    code, out, err = evaluate(model, "--data", f"csv:{other / 'meta.csv'}", "--split", "test")
    assert code == 0 and "note: the model was trained on other data" in err
    assert not (model.parent / "evaluation-valid").exists()


def test_clips_without_labels_give_only_predictions(
    model: Path, evaluate: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_target(dataset: Dataset, i: int) -> int:
        raise AssertionError("a clip without label has no target")

    monkeypatch.setattr(Manifest, "labelled", property(lambda manifest: False))
    monkeypatch.setattr(Dataset, "target", no_target)
    code, out, err = evaluate(model, "--split", "test", "--json")
    assert code == 0 and "has no labels, so there are predictions and no figures" in err
    found = json.loads(out)
    assert "log_loss" not in found and found["split"] == "test"
    assert [path.name for path in (model.parent / "evaluation-test").iterdir()] == ["predictions.csv"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--data", "nothing:here"), "nothing:here"),
        (("--data", "synthetic"), "give data with the model's labels"),
        (("--output", "/proc/nothing"), "/proc/nothing"),
    ],
)
def test_wrong_input_gives_one_sentence(model: Path, evaluate: Run, options: tuple[str, ...], named: str) -> None:
    code, out, err = evaluate(model, *options)
    error = [line for line in err.splitlines() if not line.startswith("packing")]
    assert (code, out) == (2, "") and len(error) == 1 and error[0].startswith("error: ") and named in error[0]


def test_a_missing_or_truncated_model_gives_one_sentence(model: Path, evaluate: Run) -> None:
    model.write_bytes(model.read_bytes()[:-100])
    for path in (model, model.with_name("missing.safetensors")):
        code, out, err = evaluate(path)
        assert (code, out) == (2, "") and err.count("\n") == 1 and path.name in err


def test_on_a_full_disk_the_figures_are_printed_and_no_file_is_left(
    model: Path, evaluate: Run, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    with file_size_limit(15_000):
        code, out, err = evaluate(model)
    assert code == 2 and "the disk is full at " in err and err.count("error:") == 1
    assert "log loss, macro" in out and "written to" not in out, "figures must be printed even if the disk is full"
    assert list((model.parent / "evaluation-valid").iterdir()) == []


def test_a_run_and_its_trial_name_the_model(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs" / "alone"
    (run / "best").mkdir(parents=True)
    shutil.copy(stored, run / "best" / "model.safetensors")
    Journal(run / "journal.jsonl").append(RunStarted(name="alone", kind="train", settings={}))
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    for name in ("alone", "runs/alone/t000"):
        assert launched("evaluate.py", name, "--split", "valid", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["log_loss"] == pytest.approx(load_model(stored)[1].evaluation.log_loss, abs=1e-4)
        assert (run / "best" / "evaluation-valid" / "evaluation.json").is_file()
    said = refusal(capsys, "evaluate.py", "alone/best/model", "--split", "valid")
    assert "alone/best/model is neither a model file nor a run nor a trial: the runs in runs are alone" in said
