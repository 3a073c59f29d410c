"""A search whose Ray is killed or breaks in the middle saves its results and can be resumed.

`faulty_ray.py` simulates errors that a test cannot cause on every machine; the kills are real.
"""

import os
import signal

import pytest
from search_bench import Bench, assert_whole, ended, processes, trained, wait_for

ALONE = ("--max-concurrent", "1", "--cpus-per-trial", "1", "--mlflow-uri", "none")


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
