"""A search whose trials pause and are promoted, with real Ray: its driver is killed while some of them wait."""

import json
import os
import shutil
import signal

from search_bench import Bench, assert_mlflow_agrees, assert_whole, ended, epochs, events, history, wait_for
from told_search import ToldSearch

from asc.runs.events import RunEnded, RungReached, RunResumed, TrialPromoted
from asc.runs.journal import read_journal
from asc.runs.record import fold

GROWING = ("--cycles", "3", "--epochs-per-cycle", "1", "--cycle-growth", "3", "--asha", "promotion")
WITHIN = {"architecture.widths.0": 8, "architecture.widths.1": 8, "compression.prune_ratio": 0.0}
TWO = ("--max-concurrent", "2", "--cpus-per-trial", "1")


def test_trials_that_wait_when_the_driver_is_killed_go_on_from_their_checkpoints(bench: Bench) -> None:
    earlier = ToldSearch(bench.run("earlier"))
    for log_loss, rate in ((1.0, 4e-3), (0.9, 5e-3)):
        earlier.trial(log_loss, point={**WITHIN, "schedule.learning_rate_max": rate})
    process = bench.search("pausing", "--trials", "8", "--seed", "1", "--warm-start", "earlier", *GROWING, *TWO)
    run = bench.run("pausing")

    def waiting() -> dict[str, int]:
        return fold(read_journal(run / "journal.jsonl")).paused if events(run) else {}

    wait_for(lambda: len(waiting()) >= 3 and any(isinstance(e, TrialPromoted) for e in events(run)), process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before, held = waiting(), len(events(run))
    known = {name: epochs(run, name) for name in fold(read_journal(run / "journal.jsonl")).trials}
    assert {name: len(history(run, name)) for name in before} == before, "each has the checkpoint of its last epoch"

    shutil.rmtree(bench.run("earlier"))  # its points are in the journal
    code, out, err = ended(bench.start("--resume", "pausing", "--json"))
    assert code == 0, err
    assert_whole(bench, "pausing")
    happened, record = events(run), fold(read_journal(run / "journal.jsonl"))
    assert isinstance(happened[held], RunResumed) and not record.paused and len(record.trials) == 8
    tried = [trial.asked for trial in record.trials.values()]
    assert [asked.earlier for asked in tried] == [None, "earlier/t001", "earlier/t000", *5 * [None]]
    assert [asked.config["schedule.learning_rate_max"] for asked in tried[1:3]] == [5e-3, 4e-3]
    for name, seconds in known.items():
        now = epochs(run, name)
        assert {epoch: now[epoch] for epoch in seconds} == seconds, "no epoch is trained twice"
    promoted = [e.trial for e in happened if isinstance(e, TrialPromoted)]
    reached = [e for e in happened if isinstance(e, RungReached)]
    assert sum(rung.epoch == 1 for rung in reached) == 8 and all(rung.epoch in (1, 4) for rung in reached)
    assert not any(rung.paused for rung in reached if rung.trial == "t000"), "the reference does not wait"
    outcomes = {row["trial"]: (row["outcome"], row["epochs"]) for row in json.loads(out)["trials"]}
    assert outcomes["t000"] == ("completed", 13)
    assert {outcomes[name] for name in set(outcomes) - {"t000", *promoted}} == {("stopped", 1)}
    assert len(set(promoted)) >= 3 and {outcomes[name] for name in promoted} <= {("stopped", 4), ("completed", 13)}
    assert isinstance(happened[-1], RunEnded) and happened[-1].outcome == "finished"
    bench.sent("pausing", err)
    assert_mlflow_agrees(bench, "pausing")
