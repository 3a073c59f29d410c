"""Searches survive the loss of workers, nodes, disk space, the MLflow server and the driver.

Real processes are killed by pid. A checkpoint stores the seconds of each epoch: if they reappear in the journal, the
epoch was not trained again, because a second training would take a different time.
"""

import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import Server
from ray_nodes import ENVIRONMENT, Nodes, nodes
from search_bench import Bench, assert_mlflow_agrees, assert_whole, ended, events, processes, wait_for

from asc.errors import InputError
from asc.model_file.tensors import read_tensors
from asc.runs.journal import EpochDone, RunResumed, TrialEnded, TrialRetried

OUTAGE_S = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("server"))
    one.start()
    yield one
    one.stop()


def history(run: Path, trial: str) -> list[dict[str, Any]]:
    """The epochs in a trial's checkpoint; empty without a checkpoint."""
    try:
        return list(read_tensors(run / "trials" / trial / "last.safetensors")[1]["history"])
    except InputError:
        return []


def epochs(run: Path, trial: str) -> dict[int, float]:
    """The seconds of each epoch of a trial in the journal."""
    return {e.metrics.epoch: e.metrics.seconds for e in events(run) if isinstance(e, EpochDone) and e.trial == trial}


def test_a_search_survives_a_killed_worker_an_mlflow_outage_and_a_terminated_driver(
    bench: Bench, server: Server
) -> None:
    process = bench.search("storm", "--trials", "4", "--epochs-per-cycle", "30", "--mlflow-uri", server.uri)
    run = bench.run("storm")
    wait_for(server.answers, process)
    wait_for(lambda: len(history(run, "t000")) >= 2 and len(history(run, "t001")) >= 2, process)

    held = {trial: history(run, trial) for trial in ("t000", "t001")}
    os.kill(bench.workers()[0], signal.SIGKILL)
    server.stop()
    gone_since = time.monotonic()
    wait_for(lambda: any(isinstance(e, TrialRetried) for e in events(run)), process)
    (retried,) = (e for e in events(run) if isinstance(e, TrialRetried))
    assert "died" in retried.reason and retried.epoch >= 2
    wait_for(lambda: len(epochs(run, retried.trial)) > retried.epoch + 1, process)
    for trial in held:
        seconds = epochs(run, trial)
        assert [row["seconds"] for row in held[trial]] == [seconds[row["epoch"]] for row in held[trial]]

    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert code == 130 and "Traceback" not in err, err
    assert "--resume storm" in err and "launch/track.py storm" in err
    assert json.loads(out)["ending"] == "interrupted" and (run / "leaderboard.csv").is_file()
    done = {e.trial for e in events(run) if isinstance(e, TrialEnded)}

    process = bench.start("--resume", "storm")
    wait_for(lambda: any(isinstance(e, RunResumed) for e in events(run)), process)
    wait_for(lambda: time.monotonic() - gone_since > OUTAGE_S, process)
    server.start()
    code, _, err = ended(process)
    assert code == 0, err
    assert_whole(bench, "storm")
    assert done <= {e.trial for e in events(run) if isinstance(e, TrialEnded)}
    bench.sent("storm", err, server.uri)
    assert_mlflow_agrees(bench, "storm", server.uri)


def test_a_full_disk_ends_the_search_without_losing_anything(bench: Bench) -> None:
    alone = ("--max-concurrent", "1", "--cpus-per-trial", "1")
    process = bench.search("full", "--trials", "2", "--epochs-per-cycle", "20", *alone)
    run = bench.run("full")
    wait_for(lambda: len(epochs(run, "t000")) >= 1, process)
    (worker,) = bench.workers()
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (1000, 1000))
    code, out, err = ended(process)
    assert code == 2 and err.count("error:") == 1 and "Traceback" not in err, err
    assert "full" in err and "--resume full" in err
    held = epochs(run, "t000")
    assert held and not [e for e in events(run) if isinstance(e, TrialEnded)]

    process = bench.start("--resume", "full")
    wait_for(lambda: len(epochs(run, "t000")) > len(held), process)
    assert {epoch: epochs(run, "t000")[epoch] for epoch in held} == held
    size = (run / "journal.jsonl").stat().st_size
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
    code, _, err = ended(process)
    assert code == 2 and err.count("error:") == 1 and "Traceback" not in err, err
    assert "is full" in err and "--resume full" in err, err

    code, _, err = ended(bench.start("--resume", "full"))
    assert code == 0, err
    assert_whole(bench, "full")
    bench.sent("full", err)
    assert_mlflow_agrees(bench, "full")


@pytest.fixture(scope="module")
def two_nodes(bench: Bench) -> Iterator[Nodes]:
    with nodes(1, 1, environment=bench.environment) as cluster:
        bench.environment.update(ENVIRONMENT)
        yield cluster


def on(cluster: Nodes) -> tuple[str, ...]:
    return ("--address", cluster.address, "--max-concurrent", "2", "--cpus-per-trial", "1")


def test_trials_of_a_dead_node_are_retried(bench: Bench, two_nodes: Nodes) -> None:
    process = bench.search("node", "--trials", "3", "--epochs-per-cycle", "40", *on(two_nodes))
    run = bench.run("node")
    wait_for(lambda: len(history(run, "t000")) >= 2 and len(history(run, "t001")) >= 2, process)
    held = {trial: history(run, trial) for trial in ("t000", "t001")}
    os.kill(two_nodes.raylets[1], signal.SIGKILL)
    wait_for(lambda: any(isinstance(e, TrialRetried) for e in events(run)), process)
    code, _, err = ended(process)
    assert code == 0, err
    assert_whole(bench, "node")
    bench.sent("node", err)
    assert_mlflow_agrees(bench, "node")
    for trial in held:
        seconds = epochs(run, trial)
        assert [row["seconds"] for row in held[trial]] == [seconds[row["epoch"]] for row in held[trial]]


def test_data_missing_on_a_node_are_reported_with_its_name(bench: Bench, two_nodes: Nodes, tiny_csv: Path) -> None:
    table = bench.folder / "moved.csv"
    rows = tiny_csv.read_text().splitlines()
    table.write_text("\n".join([rows[0], *(f"{tiny_csv.parent}/{row}" for row in rows[1:])]) + "\n")
    process = bench.start(
        *("--recipe", "tiny.toml", "--space", "space.toml", "--data", f"csv:{table}", "--name", "lacking"),
        *("--trials", "2", "--mlflow-uri", "none", "--json", *on(two_nodes)),
    )
    run = bench.run("lacking")
    wait_for(lambda: bool(events(run)), process)
    table.unlink()
    code, out, err = ended(process)
    assert code == 2 and "on node" in err and "127.0.0.1" in err and "moved.csv" in err, err
    assert json.loads(out)["ending"] == "halted"
    assert not processes(bench.mark, "launch/search.py")
