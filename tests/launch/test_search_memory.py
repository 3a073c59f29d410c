"""Trials whose workers Ray's memory monitor stops; `faulty_ray.py` makes a killed worker look like one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from search_bench import Bench, assert_whole, ended, outcomes, retries, trained, wait_for

from asc.search.cluster.memory import is_short_here

TWO = ("--max-concurrent", "2", "--cpus-per-trial", "1", "--mlflow-uri", "none")
ALONE = ("--max-concurrent", "1", "--cpus-per-trial", "1", "--mlflow-uri", "none")


def test_trials_stopped_by_the_memory_monitor_resume_from_their_checkpoints(bench: Bench) -> None:
    bench.fault, bench.environment["RAY_memory_usage_threshold"] = "memory", "1.0"
    process = bench.search("short", "--trials", "2", "--epochs-per-cycle", "16", *TWO)
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
