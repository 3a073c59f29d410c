"""A search whose Ray does not start, or is another version.

tests/launch/test_search_broken_ray.py has one whose Ray starts at the second attempt.
"""

import os
import signal
from collections.abc import Callable

from ray_nodes import LOOPBACK, nodes
from search_bench import Bench, ended, processes, wait_for

ALONE = ("--max-concurrent", "1", "--cpus-per-trial", "1", "--mlflow-uri", "none")


def stopped(bench: Bench, most: int) -> Callable[[], bool]:
    """A condition that pauses the first `most` raylets of a search as they start, and holds when all are paused."""
    pids = set[int]()

    def condition() -> bool:
        for pid in processes(bench.mark, "raylet/raylet"):
            if pid not in pids and len(pids) < most:
                pids.add(pid)
                os.kill(pid, signal.SIGSTOP)
        return len(pids) == most

    return condition


def test_ray_that_does_not_start_is_tried_twice_and_leaves_nothing(bench: Bench) -> None:
    bench.environment["RAY_raylet_start_wait_time_s"] = "1"
    process = bench.search("slow", "--trials", "1", *ALONE)
    wait_for(stopped(bench, 2), process)
    code, out, err = ended(process)
    assert (code, out) == (2, "") and "Traceback" not in err, err
    assert "Ray did not start in time (The current node timed out during startup); trying once more" in err
    assert err.count("error:") == 1 and "error: Ray did not start on this machine in 2 attempts" in err
    assert not bench.run("slow").exists()
    wait_for(lambda: not processes(bench.mark, "raylet/raylet"))


def test_a_folder_that_ray_cannot_write_is_named_and_nothing_is_left(bench: Bench) -> None:
    bench.environment["RAY_TMPDIR"] = str(bench.folder / "tiny.toml")
    code, _, err = ended(bench.search("nowhere", *ALONE))
    assert code == 2 and err.count("error:") == 1 and "Traceback" not in err, err
    assert "tiny.toml is not a writable folder" in err and "RAY_TMPDIR" in err
    assert not bench.run("nowhere").exists()


def test_a_cluster_with_another_version_is_refused_and_nothing_is_left(bench: Bench) -> None:
    with nodes(1, environment=bench.environment) as cluster:
        bench.environment.update(LOOPBACK)
        cluster.pretend("2.9.0")
        code, _, err = ended(bench.search("version", "--address", cluster.address, *ALONE))
    assert code == 2 and err.count("error:") == 1 and "Traceback" not in err, err
    assert "Python or Ray differs from the cluster's" in err and "Ray: 2.9.0" in err
    assert not bench.run("version").exists()
