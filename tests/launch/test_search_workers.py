"""Trials of two workers on a cluster of two processors, which are freed whatever happens to a trial."""

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

from asc.runs.journal import EpochDone, FinalConfirmed, TrialRetried


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
    """The network of a final of two workers is judged once, too."""
    given = ("--trials", "2", "--epochs-per-cycle", "10", "--workers-per-trial", "2")
    finals = ("--final-top", "1", "--final-seeds", "1", "--final-epochs", "1")
    process = bench.search("two", *given, *finals, *on(cluster))
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
    assert outcomes(run) == {"t000": "completed", "t001": "stopped", "t000-seed1": "completed"}
    (confirmed,) = (e for e in events(run) if isinstance(e, FinalConfirmed))
    assert (confirmed.final, confirmed.figures.split, confirmed.figures.clips) == ("t000-seed1", "calibration", 8)
    deadline = time.monotonic() + PATIENCE_S
    while cluster.slots() != {"total": 2, "free": 2, "groups": 0}:
        assert time.monotonic() < deadline, cluster.slots()
    assert not workers(bench)
