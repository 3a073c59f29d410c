"""Files written by version 0.1.0 (schema 2, model files of schema 3) keep their meaning: DESIGN, decision 10.

`tests/written_by_0_1` has two models with their configs and their predictions of a clip, and the folder of a search
that was interrupted in its second trial. These files are never regenerated.
"""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from forked import Forked
from patience import PATIENCE_S

from asc.config.experiment import Experiment
from asc.inference.predict import load
from asc.models.stored import StoredNet
from asc.runs.events import EpochDone, TrialEnded, TrialRetried
from asc.runs.journal import read_journal

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = ROOT / "tests" / "written_by_0_1"
EXPECTED = json.loads((WRITTEN / "expected.json").read_text())


def clip() -> np.ndarray:
    """A tone of 900 Hz that grows louder: (4800 samples,) float32, 0.6 s at 8 kHz, full scale 1."""
    time = np.arange(4800)
    return (0.1 * np.sin(2 * np.pi * 900 * time / 8000) * time / 4800).astype(np.float32)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_config_gives_the_same_experiment(name: str) -> None:
    assert Experiment.from_toml((WRITTEN / f"{name}.toml").read_text()).fingerprint == EXPECTED[name]["fingerprint"]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_model_gives_the_same_probabilities(name: str) -> None:
    model = load(WRITTEN / f"{name}.safetensors")
    assert model.info.experiment == Experiment.from_toml((WRITTEN / f"{name}.toml").read_text())
    said = np.asarray(model.predict(clip(), 8000).probabilities)
    moved = np.log(said) - np.log(EXPECTED[name]["probabilities"])
    assert np.ptp(moved) <= allowed(model.network), "further apart than the last bit of a log-mel value explains"


def allowed(network: StoredNet) -> float:
    """How far logits may move against each other on another processor: log-mel differs in its last bit there.

    In 8 bits a value in the network may then be rounded the other way, so every logit may move by one step, up or down.
    """
    state = network.state_dict()
    return 2.01 * float(state["dense.output.scale"]) if "dense.output.scale" in state else 1e-3


def test_a_search_resumes_from_its_journal_and_checkpoint(tmp_path: Path, tiny_csv: Path, tiny_cache: Path) -> None:
    run = tmp_path / "night"
    shutil.copytree(WRITTEN / "night", run)
    journal = run / "journal.jsonl"
    journal.write_text(journal.read_text().replace("/data/tiny/meta.csv", str(tiny_csv)))
    before = [entry.event for entry in read_journal(journal)]
    command = [str(ROOT / "launch" / "search.py"), "--resume", "night", "--storage", str(tmp_path)]
    command += ["--mlflow-uri", "none", "--cache", str(tiny_cache), "--json"]
    process = Forked(command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    events = [entry.event for entry in read_journal(journal)]
    assert events[: len(before)] == before
    epochs = Counter((event.trial, event.metrics.epoch) for event in events if isinstance(event, EpochDone))
    assert epochs[("t001", 4)] == 1, "it must resume after its third epoch"
    assert set(epochs.values()) == {1} and not any(isinstance(event, TrialRetried) for event in events)
    assert sum(isinstance(event, TrialEnded) for event in events) == len(json.loads(out)["trials"]) == 3
