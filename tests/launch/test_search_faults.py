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

import pytest
from mlflow_server import Server
from search_bench import (
    Bench,
    assert_mlflow_agrees,
    assert_whole,
    ended,
    epochs,
    events,
    history,
    wait_for,
)

from asc.runs.events import RunResumed, TrialEnded, TrialRetried

OUTAGE_S = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("server"))
    one.start()
    yield one
    one.stop()


def test_a_search_survives_a_killed_worker_an_mlflow_outage_and_a_terminated_driver(
    bench: Bench, server: Server
) -> None:
    wait_for(server.answers)
    two = ("--max-concurrent", "2", "--cpus-per-trial", "1")
    process = bench.search("storm", "--trials", "4", "--epochs-per-cycle", "12", "--mlflow-uri", server.uri, *two)
    run = bench.run("storm")
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
    process = bench.search("full", "--trials", "2", "--epochs-per-cycle", "10", *alone)
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
