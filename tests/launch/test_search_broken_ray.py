"""A search whose Ray is killed or breaks in the middle, or starts late, saves its results and can be resumed.

`faulty_ray.py` simulates errors that a test cannot cause on every machine; the kills are real.
"""

import os
import signal

from search_bench import Bench, assert_whole, ended, processes, trained, wait_for

FAULTS = [
    (None, "gcs/gcs_server", 2, "Ray has died in the middle of the search"),
    (None, "raylet/raylet", 2, "Ray has died in the middle of the search"),
    ("system", None, 2, "Ray cannot go on (RaySystemError: System error: the object store has lost its memory)"),
    ("fault-of-ours", None, 1, "ZeroDivisionError"),
]


def test_a_search_that_ends_with_an_error_saves_its_results_and_can_be_resumed(bench: Bench) -> None:
    """One search meets each fault in turn: what is resumed after one fault is what meets the next.

    At the last resume, the first node that Ray starts is not up in time, and a second attempt works.
    """
    run, options = bench.run("broken"), ("--trials", "1", "--epochs-per-cycle", "30", "--mlflow-uri", "none")
    for fault, kill, code, sentence in FAULTS:
        bench.fault, before = fault, trained(run, "t000")
        process = bench.start("--resume", "broken") if before else bench.search("broken", *options)
        if kill:
            wait_for(lambda before=before: trained(run, "t000") > before, process)
            # Kill the workers too: a quick one might finish before the search notices that Ray is gone.
            for pid in [*processes(bench.mark, kill), *bench.workers()]:
                os.kill(pid, signal.SIGKILL)
        got, _, err = ended(process)
        assert got == code and sentence in err and "--resume broken" in err, err
        assert ("Traceback" in err) == (code == 1) and err.count("\nerror: ") == (code == 2), err
        assert (run / "leaderboard.csv").read_text().count("unfinished") == 1
        assert "best/" not in err, "there is no best model"
        assert trained(run, "t000") > before, "it went on from the fault before"
    bench.fault, before = "slow-start", trained(run, "t000")
    process = bench.start("--resume", "broken")
    wait_for(lambda: trained(run, "t000") > before, process)
    assert len(processes(bench.mark, "raylet/raylet")) == 1, "processes of the first attempt must be gone"
    code, _, err = ended(process)
    assert code == 0 and "once more" in err, err
    assert_whole(bench, "broken")
