"""Trials of two workers on a cluster of two processors, which are freed whatever happens to a trial."""

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest
from patience import PATIENCE_S
from ray_nodes import LOOPBACK, Nodes, nodes
from search_bench import (
    Bench,
    assert_mlflow_agrees,
    assert_whole,
    ended,
    events,
    listening,
    loopback,
    outcomes,
    wait_for,
)
from search_bench import processes as processes_of

from asc.runs.events import EpochDone, FinalConfirmed, RungReached, TrialRetried


@pytest.fixture
def cluster(bench: Bench) -> Iterator[Nodes]:
    with nodes(2, environment=bench.environment) as one:
        bench.environment.update(LOOPBACK)
        yield one


def on(cluster: Nodes) -> tuple[str, ...]:
    """Options for two trials at a time, although the cluster has processors for one; the second trial waits."""
    return ("--address", cluster.address, "--max-concurrent", "2", "--cpus-per-trial", "2")


def workers(bench: Bench) -> list[int]:
    """The pids of the workers of distributed trials."""
    return processes_of(bench.mark, "ray::RayTrainWorker")


def test_dead_or_stopped_workers_cost_no_trial_and_free_their_processors(bench: Bench, cluster: Nodes) -> None:
    given = ("--trials", "2", "--epochs-per-cycle", "4", "--workers-per-trial", "2")
    process = bench.search("two", *given, *on(cluster))
    run = bench.run("two")

    def trained(trial: str) -> int:
        return sum(isinstance(e, EpochDone) and e.trial == trial for e in events(run))

    wait_for(lambda: trained("t000") > 0, process)
    assert len(workers(bench)) == 2
    addresses = listening(bench.mark, process)
    assert addresses and all(loopback(address) for address in addresses)
    wait_for(lambda: trained("t001") > 0, process)
    assert len(workers(bench)) == 2, "workers of the earlier trial must be gone"
    os.kill(workers(bench)[1], signal.SIGKILL)
    wait_for(lambda: any(isinstance(e, TrialRetried) for e in events(run)), process)
    code, _, err = ended(process)
    assert code == 0, err
    assert_whole(bench, "two")
    (retried,) = (e for e in events(run) if isinstance(e, TrialRetried))
    assert retried.trial == "t001" and retried.epoch > 0
    bench.sent("two", err)
    assert_mlflow_agrees(bench, "two")
    assert outcomes(run) == {"t000": "completed", "t001": "stopped"}
    deadline = time.monotonic() + PATIENCE_S
    while cluster.slots() != {"total": 2, "free": 2, "groups": 0}:
        assert time.monotonic() < deadline, cluster.slots()
    assert not workers(bench)


def test_two_workers_pause_together_and_the_network_of_their_final_is_judged_once(bench: Bench, cluster: Nodes) -> None:
    finals = ("--final-top", "1", "--final-seeds", "1", "--final-epochs", "1")
    given = ("--trials", "2", "--epochs-per-cycle", "1", "--asha", "promotion", "--workers-per-trial", "2")
    code, out, err = ended(bench.search("final", *given, *on(cluster), *finals))
    assert code == 0, err
    assert_whole(bench, "final")
    happened, best = events(bench.run("final")), json.loads(out)["finalists"][0]["trial"]
    assert [(e.trial, e.epoch, e.paused) for e in happened if isinstance(e, RungReached) and e.trial == "t001"] == [
        ("t001", 1, True)
    ]
    (confirmed,) = (e for e in happened if isinstance(e, FinalConfirmed))
    assert confirmed.final == f"{best}-seed1"
    assert (confirmed.figures.split, confirmed.figures.clips) == ("calibration", 8)
