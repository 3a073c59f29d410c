"""A search on a cluster of two nodes, one of which dies or lacks the data."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_nodes import LOOPBACK, Nodes, nodes
from search_bench import Bench, assert_mlflow_agrees, assert_whole, ended, epochs, events, history, wait_for

from asc.runs.events import TrialRetried


@pytest.fixture(scope="module")
def two_nodes(bench: Bench) -> Iterator[Nodes]:
    with nodes(1, 1, environment=bench.environment) as cluster:
        bench.environment.update(LOOPBACK)
        yield cluster


def on(cluster: Nodes) -> tuple[str, ...]:
    return ("--address", cluster.address, "--max-concurrent", "2", "--cpus-per-trial", "1")


def test_trials_of_a_dead_node_are_retried(bench: Bench, two_nodes: Nodes) -> None:
    process = bench.search("node", "--trials", "3", "--epochs-per-cycle", "16", *on(two_nodes))
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
    before = set(bench.workers())  # a killed node may have left some
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
    wait_for(lambda: set(bench.workers()) <= before)
