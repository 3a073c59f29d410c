"""launch/train.py and launch/evaluate.py as a user starts them: killed and resumed, then evaluated."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from asc.config import Experiment
from asc.journal import EpochDone, read_journal

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_experiment: Experiment) -> Path:
    folder = tmp_path_factory.mktemp("train")
    (folder / "tiny.toml").write_text(tiny_experiment.to_toml())
    return folder


def start(script: str, folder: Path, cache: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "launch" / script), *options],
        cwd=folder,
        env={**os.environ, "ASC_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str]) -> dict[str, object]:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    tree: dict[str, object] = json.loads(out)
    return tree


def test_killed_and_resumed_it_stores_the_same_network(folder: Path, tiny_csv: Path, tiny_cache: Path) -> None:
    options = ("--config", "tiny.toml", "--data", f"csv:{tiny_csv}", "--set", "schedule.batch_size=4", "--json")
    whole = answer(start("train.py", folder, tiny_cache, *options, "--name", "whole", "--epochs-per-cycle", "10"))
    process = start("train.py", folder, tiny_cache, *options, "--name", "killed", "--epochs-per-cycle", "10")
    journal = folder / "runs" / "killed" / "journal.jsonl"
    deadline = time.monotonic() + 120
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
    valid = answer(start("evaluate.py", folder, tiny_cache, model, "--split", "valid", "--json"))
    assert valid["log_loss"] == whole["evaluation"]["log_loss"]  # type: ignore[index]
    test = answer(
        start("evaluate.py", folder, tiny_cache, model, "--data", f"csv:{tiny_csv}", "--split", "test", "--json")
    )
    assert test["clips"] == 24, "fold 1 of 4"
    assert {row["name"] for row in test["per_device"]} == {"a", "b"}  # type: ignore[attr-defined]


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
def test_wrong_input_is_one_sentence(
    folder: Path, tiny_cache: Path, script: str, options: tuple[str, ...], named: str
) -> None:
    process = start(script, folder, tiny_cache, *options)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, ""), err
    assert err.count("\n") == 1 and err.startswith("error: ") and named in err
