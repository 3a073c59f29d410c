"""A search whose Ray is short of memory, slow to start, killed or broken saves its results and can be resumed.

`faulty_ray.py` simulates faults that a test cannot cause on every machine; the others are done to real processes.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray_nodes import ENVIRONMENT, nodes
from search_bench import Bench, assert_whole, ended, events, processes, wait_for

from asc.runs.journal import EpochDone, TrialEnded, TrialRetried
from asc.search.cluster.memory import is_short_here

ALONE = ("--max-concurrent", "1", "--cpus-per-trial", "1", "--mlflow-uri", "none")
TWO = ("--max-concurrent", "2", "--cpus-per-trial", "1", "--mlflow-uri", "none")


@pytest.fixture
def bench(bench: Bench) -> Iterator[Bench]:
    """The bench with an environment and a fault for one test only."""
    before = dict(bench.environment)
    yield bench
    bench.fault, bench.environment = None, before


def trained(run: Path, trial: str) -> int:
    return sum(isinstance(e, EpochDone) and e.trial == trial for e in events(run))


def retries(run: Path, trial: str) -> list[str]:
    return [e.reason for e in events(run) if isinstance(e, TrialRetried) and e.trial == trial]


def outcomes(run: Path) -> dict[str, str]:
    return {e.trial: e.outcome for e in events(run) if isinstance(e, TrialEnded)}


def test_trials_stopped_by_the_memory_monitor_resume_from_their_checkpoints(bench: Bench) -> None:
    bench.fault, bench.environment["RAY_memory_usage_threshold"] = "memory", "1.0"
    process = bench.search("short", "--trials", "2", "--epochs-per-cycle", "40", *TWO)
    run = bench.run("short")
    wait_for(lambda: trained(run, "t000") > 0 and trained(run, "t001") > 0, process)
    for pid in bench.workers():
        os.kill(pid, signal.SIGKILL)
    code, _, err = ended(process)
    assert code == 0 and "Traceback" not in err, err
    assert_whole(bench, "short")
    for trial in ("t000", "t001"):
        assert retries(run, trial) == ["memory ran short, and Ray stopped its worker"]
    assert "t000: memory ran short, and Ray stopped its worker; it resumes after epoch" in err


def test_a_trial_too_large_for_memory_fails_at_the_third_attempt_and_the_search_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skipped if memory is really short, because then the search does not blame the trial."""
    monkeypatch.setenv("RAY_memory_usage_threshold", "1.0")
    bench.fault, bench.environment["RAY_memory_usage_threshold"] = "memory", "1.0"
    process = bench.search("large", "--trials", "2", *ALONE)
    run, killed, short = bench.run("large"), set[int](), list[bool]()

    def fails() -> bool:
        for pid in bench.workers() if trained(run, "t001") == 0 and "t000" not in outcomes(run) else []:
            if pid not in killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
        short[:] = [True] if short or is_short_here() else []
        return "t000" in outcomes(run) or bool(short)

    wait_for(fails, process)
    if short:
        process.send_signal(signal.SIGINT)
        ended(process)
        pytest.skip("memory is really short on this machine, so the search does not blame the trial")
    code, _, err = ended(process)
    assert code == 0 and "Traceback" not in err, err
    assert_whole(bench, "large")
    assert outcomes(run) == {"t000": "failed", "t001": "completed"}
    assert retries(run, "t000") == 2 * ["it ran out of memory on its own, and Ray stopped its worker"]
    assert "make schedule.batch_size or augment.crop_s smaller" in err


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


def test_a_search_works_if_ray_starts_at_the_second_attempt(bench: Bench) -> None:
    bench.fault = "slow-start"
    process = bench.search("second", "--trials", "1", *ALONE)
    run = bench.run("second")
    wait_for(lambda: trained(run, "t000") > 0, process)
    assert len(processes(bench.mark, "raylet/raylet")) == 1, "processes of the first attempt must be gone"
    code, _, err = ended(process)
    assert code == 0 and "once more" in err, err
    assert_whole(bench, "second")


def test_a_folder_that_ray_cannot_write_is_named_and_nothing_is_left(bench: Bench) -> None:
    bench.environment["RAY_TMPDIR"] = str(bench.folder / "tiny.toml")
    code, _, err = ended(bench.search("nowhere", *ALONE))
    assert code == 2 and err.count("error:") == 1 and "Traceback" not in err, err
    assert "tiny.toml is not a writable folder" in err and "RAY_TMPDIR" in err
    assert not bench.run("nowhere").exists()


@pytest.mark.parametrize(
    ("fault", "kill", "code", "sentence"),
    [
        (None, "gcs/gcs_server", 2, "Ray has died in the middle of the search"),
        (None, "raylet/raylet", 2, "Ray has died in the middle of the search"),
        ("system", None, 2, "Ray cannot go on (RaySystemError: System error: the object store has lost its memory)"),
        ("fault-of-ours", None, 1, "ZeroDivisionError"),
    ],
)
def test_a_search_that_ends_with_an_error_saves_its_results_and_can_be_resumed(
    bench: Bench, fault: str | None, kill: str | None, code: int, sentence: str
) -> None:
    bench.fault, name = fault, kill.replace("/", "-") if kill else str(fault)
    process = bench.search(name, "--trials", "1", "--epochs-per-cycle", "10", *ALONE)
    run = bench.run(name)
    if kill:
        wait_for(lambda: trained(run, "t000") > 0, process)
        # Kill the workers too: a quick one might finish before the search notices that Ray is gone.
        for pid in [*processes(bench.mark, kill), *bench.workers()]:
            os.kill(pid, signal.SIGKILL)
    got, _, err = ended(process)
    assert got == code and sentence in err and f"--resume {name}" in err, err
    assert ("Traceback" in err) == (code == 1) and err.count("\nerror: ") == (code == 2), err
    assert (run / "leaderboard.csv").read_text().count("unfinished") == 1
    assert "best/" not in err, "there is no best model"
    bench.fault = None
    code, _, err = ended(bench.start("--resume", name))
    assert code == 0, err
    assert_whole(bench, name)


def test_a_cluster_with_another_version_is_refused_and_nothing_is_left(bench: Bench) -> None:
    with nodes(1, environment=bench.environment) as cluster:
        bench.environment.update(ENVIRONMENT)
        cluster.pretend("2.9.0")
        code, _, err = ended(bench.search("version", "--address", cluster.address, *ALONE))
    assert code == 2 and err.count("error:") == 1 and "Traceback" not in err, err
    assert "Python or Ray differs from the cluster's" in err and "Ray: 2.9.0" in err
    assert not bench.run("version").exists()


@pytest.mark.skipif("ASC_TAKE_MEMORY" not in os.environ, reason="takes 4 GB for some seconds: set ASC_TAKE_MEMORY=1")
def test_the_real_memory_monitor_does_not_cost_a_trial(bench: Bench) -> None:
    """Another process takes real memory: the trials wait and are not blamed."""
    said = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    kilobytes = {name.rstrip(":"): int(value) for name, value, *_ in said}
    used = 1 - kilobytes["MemAvailable"] / kilobytes["MemTotal"]
    bench.environment["RAY_memory_usage_threshold"] = str(min(1.0, used + 2.5e6 / kilobytes["MemTotal"]))
    bench.environment["RAY_memory_monitor_refresh_ms"] = "100"
    process = bench.search("real", "--trials", "2", "--epochs-per-cycle", "40", *TWO)
    run = bench.run("real")
    wait_for(lambda: trained(run, "t000") > 0 and trained(run, "t001") > 0, process)
    code = "taken = bytearray(4_000_000_000)\nfor at in range(0, len(taken), 4096): taken[at] = 1\ninput()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as other:
        wait_for(lambda: bool(retries(run, "t000") or retries(run, "t001")), process)
        other.communicate(b"\n")
    got, _, err = ended(process)
    print(err)
    assert got == 0 and "Traceback" not in err, err
    assert_whole(bench, "real")
    assert set(outcomes(run).values()) <= {"completed", "stopped"}
