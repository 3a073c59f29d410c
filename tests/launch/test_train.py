"""launch/train.py and launch/evaluate.py as a user starts them: a training is killed, resumed and evaluated."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import Forked
from launched import ROOT, launched, refusal
from patience import PATIENCE_S
from safetensors.torch import load_file, save_file

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.model_file.artefact import load_model
from asc.runs import training_run
from asc.runs.events import EpochDone, RunStarted
from asc.runs.folder import new_run_folder
from asc.runs.journal import read_journal
from asc.runs.mirror import mirrored
from asc.runs.storage import bucket_of
from asc.training_results import EpochMetrics

QUIET = ("--mlflow-uri", "none")
SCHEDULE = ("--cycles", "2", "--epochs-per-cycle", "5", "--cycle-growth", "3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_experiment: Experiment) -> Path:
    folder = tmp_path_factory.mktemp("train")
    (folder / "tiny.toml").write_text(tiny_experiment.to_toml())
    return folder


def start(script: str, folder: Path, cache: Path, *options: str, fresh: bool = False) -> subprocess.Popen[str] | Forked:
    """Start a script, forked or as a fresh process."""
    environment = {**os.environ, "ASC_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [str(ROOT / "launch" / script), *options]
    if not fresh:
        return Forked(command, cwd=folder, env=environment)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, text=True, **pipes)


def answer(process: subprocess.Popen[str] | Forked) -> dict[str, object]:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    tree: dict[str, object] = json.loads(out)
    return tree


def test_a_killed_and_resumed_training_saves_the_same_network(folder: Path, tiny_csv: Path, tiny_cache: Path) -> None:
    options = ("--config", "tiny.toml", "--data", f"csv:{tiny_csv}", "--set", "schedule.batch_size=4", "--json")
    whole = answer(start("train.py", folder, tiny_cache, *options, "--name", "whole", *SCHEDULE, fresh=True))
    process = start("train.py", folder, tiny_cache, *options, "--name", "killed", *SCHEDULE)
    journal = folder / "runs" / "killed" / "journal.jsonl"
    deadline = time.monotonic() + PATIENCE_S
    while not (journal.exists() and sum(isinstance(e.event, EpochDone) for e in read_journal(journal)) >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    resumed = answer(start("train.py", folder, tiny_cache, "--resume", "killed", "--json"))
    assert resumed["evaluation"] == whole["evaluation"]
    first, second = (load_file(folder / "runs" / name / "best" / "model.safetensors") for name in ("whole", "killed"))
    assert first.keys() == second.keys() and all(bool((first[k] == second[k]).all()) for k in first)
    epochs = [e.event.metrics.epoch for e in read_journal(journal) if isinstance(e.event, EpochDone)]
    assert epochs == list(range(1, 21))
    assert sorted(p.name for p in (folder / "runs" / "killed").iterdir() if p.suffix == ".safetensors") == []

    model = "runs/whole/best/model.safetensors"
    valid = answer(start("evaluate.py", folder, tiny_cache, model, "--split", "valid", "--json", fresh=True))
    assert valid["log_loss"] == whole["evaluation"]["log_loss"]  # type: ignore[index]
    test = answer(
        start("evaluate.py", folder, tiny_cache, model, "--data", f"csv:{tiny_csv}", "--split", "test", "--json")
    )
    assert test["clips"] == 24, "fold 1 of 4"
    assert {row["name"] for row in test["per_device"]} == {"a", "b"}  # type: ignore[attr-defined]


def test_a_training_resumes_from_a_bucket_on_another_machine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_dataset: Dataset,
    tiny_cache: Path,
    tiny_experiment: Experiment,
    object_store: Any,
) -> None:
    storage = object_store.bucket("trainings")
    named = bucket_of(storage)
    assert named is not None
    bucket = named.at("night")

    def interrupt(metrics: EpochMetrics) -> None:
        if metrics.epoch == 3:
            raise KeyboardInterrupt

    for machine in ("one", "other"):
        (tmp_path / machine).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    journal = training_run.open_journal(new_run_folder(storage, "night"))
    training_run.begin(journal, tiny_experiment, tiny_dataset.manifest.choice)
    with pytest.raises(KeyboardInterrupt), mirrored(journal, print):
        training_run.run(journal, tiny_experiment, tiny_dataset, device=torch.device("cpu"), on_epoch=interrupt)
    journal.close()
    before = [e.event.metrics for e in journal.entries if isinstance(e.event, EpochDone)]
    assert {"last.safetensors", "best.safetensors", "journal.jsonl"} == set(bucket.sizes())

    monkeypatch.chdir(tmp_path / "other")
    monkeypatch.setenv("ASC_CACHE", str(tiny_cache))
    assert launched("train.py", "--resume", "night", "--storage", storage, *QUIET) == 0
    after = [e.event.metrics for e in read_journal(Path("runs/night/journal.jsonl")) if isinstance(e.event, EpochDone)]
    assert len(before) == 3 and len(after) == 6
    assert after[:3] == before, "even the seconds, which a second training would change"
    assert set(bucket.sizes()) == {"journal.jsonl", "best/model.safetensors", "best/config.toml", "best/model_card.md"}
    assert bucket.get("best/model.safetensors") == Path("runs/night/best/model.safetensors").read_bytes()

    bucket.remove("best/config.toml")
    shutil.copytree(tmp_path / "other", tmp_path / "third")  # this process still has the journal of "other" open
    monkeypatch.chdir(tmp_path / "third")
    assert launched("track.py", "night", *QUIET) == 0, "the storage of the run is remembered"
    assert bucket.get("best/config.toml") == Path("runs/night/best/config.toml").read_bytes()


def test_a_resumed_training_keeps_its_groups(tmp_path: Path, tiny_experiment: Experiment) -> None:
    for name, pattern in (("grouped", "/(.)-"), ("plain", None)):
        choice = DataChoice("folder:here", group_from=pattern)
        journal = training_run.open_journal(new_run_folder(str(tmp_path), name))
        training_run.begin(journal, tiny_experiment, choice)
        assert training_run.resumed(journal) == (tiny_experiment, choice)
        started = journal.entries[0].event
        assert isinstance(started, RunStarted)
        assert ("group_from" in started.settings) == (pattern is not None), "old journals lack this key"
        journal.close()


def test_the_model_file_keeps_the_groups_of_its_training(
    folder: Path, tiny_csv: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in tiny_csv.parent.glob("*.wav"):
        label = file.name.partition("-")[0]
        (folder / "classes" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / "classes" / label)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ASC_CACHE", str(tiny_cache))
    options = ("--config", "tiny.toml", "--data", "folder:classes", "--epochs-per-cycle", "1", *QUIET)
    groups = ("--group-from", r"/(\w+-\d+)-")
    assert launched("train.py", *options, *groups, "--name", "grouped") == 0
    assert "note:" not in capsys.readouterr().err
    model = "runs/grouped/best/model.safetensors"
    assert launched("evaluate.py", model, "--split", "test", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["intervals"]["groups"] < json.loads(out)["clips"] and "other data" not in err
    assert "with --group-from" in refusal(capsys, "evaluate.py", model, "--group-from", "(.)")
    assert launched("train.py", *options, "--name", "plain") == 0
    assert "96 files of folder:classes begin like another" in capsys.readouterr().err


def test_a_network_learns_from_the_logits_of_a_teacher(
    folder: Path, tiny_csv: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ASC_CACHE", str(tiny_cache))
    files = [path.name for path in sorted(tiny_csv.parent.glob("*.wav"))]
    labels = ["down_fast", "down_slow", "up_fast", "up_slow"]
    logits = 5 * torch.tensor([[float(name.startswith(label)) for label in labels] for name in files])
    metadata = {"files": json.dumps(files), "labels": json.dumps(labels), "teachers": '[["outside", 900]]'}
    save_file({"logits": logits}, "teacher.safetensors", metadata=metadata)
    save_file({"logits": logits[:5]}, "few.safetensors", metadata={**metadata, "files": json.dumps(files[:5])})
    options = ("--config", "tiny.toml", "--data", f"csv:{tiny_csv}", "--epochs-per-cycle", "1", *QUIET)
    assert "few.safetensors: files lacks " in refusal(
        capsys, "train.py", *options, "--teacher-logits", "few.safetensors", "--name", "pupil"
    )
    assert not Path("runs/pupil").exists()
    learned = ("--teacher-logits", "teacher.safetensors", "--set", "distillation.temperature=3")
    assert launched("train.py", *options, *learned, "--name", "pupil") == 0
    assert "right label" not in capsys.readouterr().err
    save_file({"logits": -logits}, "wrong.safetensors", metadata=metadata)
    assert launched("train.py", *options, "--teacher-logits", "wrong.safetensors", "--name", "misled") == 0
    assert "The teachers give the right label of 0% of the training clips only" in capsys.readouterr().err
    _, info = load_model(Path("runs/pupil/best/model.safetensors"))
    assert info.taught is not None and [str(one) for one in info.taught.teachers] == ["outside (900.0 KB)"]
    card = Path("runs/pupil/best/model_card.md").read_text()
    assert "- Teachers: outside (900.0 KB)" in card and "at temperature 3." in card
    (started, *_) = read_journal(Path("runs/pupil/journal.jsonl"))
    assert isinstance(started.event, RunStarted)
    assert started.event.settings["teacher_logits"] == str(folder.resolve() / "teacher.safetensors")


@pytest.mark.parametrize(
    ("script", "options", "named"),
    [
        ("train.py", ("--recipe", "qat_9b"), "qat_8b"),
        ("train.py", ("--data", "folder:nowhere"), "nowhere"),
        ("train.py", ("--resume", "nothing"), "nothing"),
        ("train.py", ("--set", "schedule.cycels=3"), "schedule.cycles"),
        ("evaluate.py", ("missing.safetensors",), "missing.safetensors"),
        ("evaluate.py", ("tiny.toml",), "tiny.toml"),
    ],
)
def test_wrong_input_gives_one_sentence(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    options: tuple[str, ...],
    named: str,
) -> None:
    monkeypatch.chdir(folder)
    assert named in refusal(capsys, script, *options)


def test_a_crop_longer_than_every_clip_is_noted(tiny_dataset: Dataset) -> None:
    longest_s = 0.7
    assert training_run.crop_notes(tiny_dataset, 0.4) == training_run.crop_notes(tiny_dataset, longest_s) == []
    (note,) = training_run.crop_notes(tiny_dataset, 3.0)
    assert note.startswith("augment.crop_s is 3 s, but no clip is longer than 0.7 s")
