"""A search stored in a bucket loses its machine and resumes from the bucket on another one."""

import json
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from search_bench import Bench, assert_whole, ended, events, wait_for

from asc.config.experiment import Experiment
from asc.model_file.artefact import load_model
from asc.model_file.tensors import read_tensors
from asc.runs.bucket import Bucket
from asc.runs.events import EpochDone
from asc.runs.journal import Entry, read_journal
from asc.runs.record import RunRecord, fold
from asc.runs.storage import bucket_of


def record(journal: Path) -> RunRecord | None:
    entries: tuple[Entry, ...] = read_journal(journal) if journal.exists() else ()
    return fold(entries) if entries else None


def one_ended_and_one_is_under_way(journal: Path) -> bool:
    known = record(journal)
    trials = known.trials.values() if known else ()
    completed = any(trial.ended and trial.ended.outcome == "completed" for trial in trials)
    return completed and any(trial.ended is None and len(trial.epochs) >= 2 for trial in trials)


def checkpointed(bucket: Bucket, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The epochs in the bucket's checkpoints, by trial."""
    found = {}
    for name in bucket.sizes():
        if name.endswith("/last.safetensors"):
            (folder / "last").write_bytes(bucket.get(name) or b"")
            found[name.split("/")[1]] = read_tensors(folder / "last")[1]["history"]
    return found


def hang_up_on(store: Any, connections: int) -> None:
    """Simulate an outage: replace the server by one that closes this many connections, then start it again."""
    store.stop()
    with socket.create_server(("127.0.0.1", store.port)) as stranger:
        for _ in range(connections):
            stranger.accept()[0].close()
    store.start()


def test_a_search_resumes_on_another_machine_from_the_bucket_alone(
    tmp_path: Path,
    tiny_csv: Path,
    tiny_cache: Path,
    tiny_experiment: Experiment,
    object_store: Any,
    request: pytest.FixtureRequest,
) -> None:
    storage = object_store.bucket("searches").replace("?", "/a/b?")
    for name in ("lost", "other"):
        (tmp_path / name).mkdir()
    lost, other = (
        Bench(tmp_path / name, tiny_csv, tiny_cache, tiny_experiment, storage=storage) for name in ("lost", "other")
    )
    named = bucket_of(storage)
    assert named is not None
    bucket, journal = named.at("night"), other.run("night") / "journal.jsonl"

    process = lost.search(*("night", "--trials", "3", "--max-concurrent", "2", "--mlflow-uri", "none"))
    request.addfinalizer(process.kill)  # in case the test fails
    wait_for(lambda: one_ended_and_one_is_under_way(lost.run("night") / "journal.jsonl"), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    held = checkpointed(bucket, tmp_path)
    (tmp_path / "there.jsonl").write_bytes(bucket.get("journal.jsonl") or b"")
    before = record(tmp_path / "there.jsonl")
    assert held and before is not None
    for name, trial in before.trials.items():
        if trial.epochs and not trial.ended:
            assert len(held[name]) >= max(trial.epochs), (
                "an epoch must not be journalled before its checkpoint is uploaded"
            )
    shutil.rmtree(lost.folder)
    scratch = set(tiny_cache.glob(".packing-*"))

    epochs = sum(len(trial.epochs) for trial in before.trials.values())
    process = other.start("--resume", "night", "--json")
    request.addfinalizer(process.kill)
    wait_for(lambda: sum(isinstance(e, EpochDone) for e in events(other.run("night"))) > epochs, process)
    hang_up_on(object_store, connections=8)
    code, out, err = ended(process)
    assert code == 0, err

    assert bucket.get("journal.jsonl") == journal.read_bytes()
    assert_whole(other, "night")
    after = record(journal)
    assert after is not None and len(after.trials) == 3
    assert not any(trial.retries for trial in after.trials.values()), "the outage must not cost a trial an attempt"
    for name in before.trials.keys() & held.keys():  # trials missing from the uploaded journal are started anew
        # An epoch that was trained again would have taken different seconds.
        trial, history = after.trials[name], held[name]
        heard = [row for row in history if row["epoch"] in trial.epochs]
        assert [trial.epochs[row["epoch"]].seconds for row in heard] == [row["seconds"] for row in heard]
        # If the journal's end with a rung was lost, the rung may now stop the trial and later epochs are not reported.
        assert heard == history or (trial.ended is not None and trial.ended.outcome == "stopped")

    completed = {name for name, trial in after.trials.items() if trial.ended and trial.ended.outcome == "completed"}
    kept = {name for name in bucket.sizes() if name.startswith("trials/")}
    assert kept == {f"trials/{name}/model.safetensors" for name in completed}, (
        "checkpoints of ended trials must be removed"
    )
    best = bucket.get("best/model.safetensors")
    assert best is not None and best == (journal.parent / "best" / "model.safetensors").read_bytes()
    (tmp_path / "best.safetensors").write_bytes(best)
    _, info = load_model(tmp_path / "best.safetensors")
    assert info.evaluation.log_loss == round(json.loads(out)["best"]["log_loss"], 4)
    assert bucket.get("leaderboard.json") == (journal.parent / "leaderboard.json").read_bytes()
    assert set(tiny_cache.glob(".packing-*")) <= scratch, "a worker's folder must be removed after its trial"
