"""A search whose runs lie in a bucket: its machine is lost in the middle, and it goes on from the bucket elsewhere."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asc.artefact import load_model
from asc.checkpoint import read_tensors
from asc.config import Experiment
from asc.journal import EpochDone, RunRecord, TrialAsked, TrialEnded, fold, read_journal
from asc.storage import Bucket, bucket_of

ROOT = Path(__file__).resolve().parents[2]
SPACE = """
schema = 1
[parameters]
"architecture.widths.0" = { low = 4, high = 16, step = 4 }
"architecture.widths.1" = { low = 4, high = 24, step = 4 }
"schedule.cycles" = { choices = [2] }
"schedule.epochs_per_cycle" = { choices = [3] }
"""


class Machine:
    """A folder of its own in which a search is started; the bucket and the cache are all that two machines share."""

    def __init__(self, folder: Path, cache: Path) -> None:
        folder.mkdir()
        self.folder, self.journal = folder, folder / "runs" / "night" / "journal.jsonl"
        self.said = folder / "said.txt"
        self._environment = {**os.environ, "ASC_CACHE": str(cache), "OMP_NUM_THREADS": "1"}

    def search(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(ROOT / "launch" / "search.py"), *options, "--json"]
        with self.said.open("wb") as said:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
            )

    def record(self) -> RunRecord | None:
        entries = read_journal(self.journal) if self.journal.exists() else ()
        return fold(entries) if entries else None


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], machine: Machine) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, machine.said.read_text()
        assert time.monotonic() < deadline, machine.said.read_text()
        time.sleep(0.05)


def one_ended_and_one_is_under_way(record: RunRecord | None) -> bool:
    trials = record.trials.values() if record else ()
    completed = any(trial.ended and trial.ended.outcome == "completed" for trial in trials)
    return completed and any(trial.ended is None and len(trial.epochs) >= 2 for trial in trials)


def there(bucket: Bucket, folder: Path) -> RunRecord:
    """The journal in the bucket."""
    copy = folder / "copy.jsonl"
    copy.write_bytes(bucket.get("journal.jsonl") or b"")
    return fold(read_journal(copy))


def checkpointed(bucket: Bucket, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The epochs that the checkpoints in the bucket hold, by trial."""
    found = {}
    for name in bucket.sizes():
        if name.endswith("/last.safetensors"):
            (folder / "last").write_bytes(bucket.get(name) or b"")
            found[name.split("/")[1]] = read_tensors(folder / "last")[1]["history"]
    return found


def test_the_machine_is_lost_and_the_search_goes_on_from_the_bucket_alone(
    tmp_path: Path, tiny_csv: Path, tiny_cache: Path, tiny_experiment: Experiment, object_store: Any
) -> None:
    storage = object_store.bucket("searches").replace("?", "/a/b?")
    found = bucket_of(storage)
    assert found is not None
    bucket = found.at("night")
    (tmp_path / "tiny.toml").write_text(tiny_experiment.to_toml())
    (tmp_path / "space.toml").write_text(SPACE)

    lost = Machine(tmp_path / "lost", tiny_cache)
    process = lost.search(
        *("--recipe", "../tiny.toml", "--space", "../space.toml", "--data", f"csv:{tiny_csv}", "--budget-kb", "4"),
        *("--name", "night", "--storage", storage, "--trials", "4", "--max-concurrent", "2", "--mlflow-uri", "none"),
    )
    wait_for(lambda: one_ended_and_one_is_under_way(lost.record()), process, lost)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    left, before = checkpointed(bucket, tmp_path), there(bucket, tmp_path)
    assert left, "the machine was lost in the middle of a trial"
    for name, trial in before.trials.items():
        assert trial.ended or not trial.epochs or len(left[name]) >= max(trial.epochs), (
            "no epoch without its checkpoint"
        )
    shutil.rmtree(lost.folder / "runs")
    scratch = set(tiny_cache.glob(".packing-*"))

    other = Machine(tmp_path / "other", tiny_cache)
    process = other.search("--resume", "night", "--storage", storage)
    wait_for(lambda: bool((r := other.record()) and r.resumed and len(r.trials) > len(before.trials)), process, other)
    object_store.stop()
    try:
        wait_for(lambda: "the run goes on" in other.said.read_text(), process, other)
    finally:
        object_store.start()
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, other.said.read_text()

    entries = read_journal(other.journal)
    happened = [entry.event for entry in entries]
    assert bucket.get("journal.jsonl") == other.journal.read_bytes()
    for once in (
        [e.trial for e in happened if isinstance(e, TrialAsked)],
        [e.trial for e in happened if isinstance(e, TrialEnded)],
        [(e.trial, e.metrics.epoch) for e in happened if isinstance(e, EpochDone)],
    ):
        assert once and max(Counter(once).values()) == 1
    record = fold(entries)
    assert len(record.trials) == 4 and all(trial.ended and not trial.retries for trial in record.trials.values())
    for name, history in left.items():
        # Seconds are measured, so an epoch that was trained again would have others.
        assert [record.trials[name].epochs[row["epoch"]].seconds for row in history] == [r["seconds"] for r in history]

    completed = {name for name, trial in record.trials.items() if trial.ended and trial.ended.outcome == "completed"}
    kept = {name for name in bucket.sizes() if name.startswith("trials/")}
    assert kept == {f"trials/{name}/model.safetensors" for name in completed}, "no checkpoint of an ended trial"
    best = bucket.get("best/model.safetensors")
    assert best is not None and best == (other.journal.parent / "best" / "model.safetensors").read_bytes()
    (tmp_path / "best.safetensors").write_bytes(best)
    _, info = load_model(tmp_path / "best.safetensors")
    assert info.evaluation.log_loss == json.loads(out)["best"]["log_loss"]
    assert bucket.get("leaderboard.json") == (other.journal.parent / "leaderboard.json").read_bytes()
    assert set(tiny_cache.glob(".packing-*")) <= scratch, "a worker's folder goes with its trial"
    assert not (other.folder / "runs" / "mlflow.db").exists()
