"""A whole search with simulated trials: conductor, Ray Tune, journal, live view and MLflow are real.

    python tests/benchmarks/simulated_search.py FOLDER --slots 4 --trials 40 --epoch-s 0.5

Resumes if FOLDER has a journal. FOLDER/worked.txt gets a line for each trained epoch, FOLDER/driver.jsonl gets this
process's resource use every half second, FOLDER/leaderboard.json gets the trials at the end. No models are written, so
there is no best one. Prints one JSON object: how the search ended, and its trials by outcome.
"""

import argparse
import json
import os
import resource
import signal
import threading
import time
from pathlib import Path

from simulated import simulated_trial
from synthetic_journal import BUDGET, reference, settings, space_of, started

from asc.config.data_choice import DataChoice
from asc.console import cli
from asc.runs.events import RunEnded, RunResumed
from asc.runs.journal import Journal
from asc.search.cluster import environment

WORKED, DRIVER = "worked.txt", "driver.jsonl"
_TICKS = os.sysconf("SC_CLK_TCK")


class Meter(threading.Thread):
    """Records this process's total resource use twice a second."""

    def __init__(self, path: Path, journal: Path) -> None:
        super().__init__(daemon=True)
        self._path, self._journal = path, journal
        self._over = threading.Event()

    def run(self) -> None:
        with self._path.open("a", buffering=1) as file:
            while not self._over.wait(0.5):
                file.write(json.dumps(self._sample()) + "\n")

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _sample(self) -> dict[str, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        threads = {thread.name: thread.native_id for thread in threading.enumerate()}
        return {
            "time_s": time.time(),
            "cpu_s": used.ru_utime + used.ru_stime,
            "main_cpu_s": _thread_cpu_s(os.getpid()),
            "mlflow_cpu_s": _thread_cpu_s(threads.get("mlflow")),
            "rss_mb": int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6,
            "journal_bytes": self._journal.stat().st_size,
            "idle_cpu_s": int(Path("/proc/stat").read_text().split()[4]) / _TICKS,
        }


def _thread_cpu_s(thread: int | None) -> float:
    try:
        fields = Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def main() -> None:
    """Run or resume the search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slots", type=int, default=2, metavar="N", help="trials at once (default 2)")
    parser.add_argument("--trials", type=int, default=8, metavar="N", help="trials in total (default 8)")
    parser.add_argument(
        "--cycles", type=int, default=1, metavar="N", help="early stopping needs two or more (default 1)"
    )
    parser.add_argument("--epochs-per-cycle", type=int, default=6, metavar="N", help="default 6")
    parser.add_argument("--epoch-s", type=float, default=0.5, metavar="S", help="seconds per epoch (default 0.5)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    parser.add_argument("--address", metavar="HOST:PORT", help="a running Ray cluster (default: start Ray here)")
    parser.add_argument("--mlflow-uri", default="none", metavar="URI", help="default none")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, cli.as_interrupt)
    environment.prepare(local=options.address is None)
    from rich.console import Console

    from asc.search import conductor, leaderboard, live
    from asc.search.cluster import cluster, study
    from asc.tracking.session import tracked

    space, folder = space_of(options.cycles), options.folder.resolve()
    base = reference(cycles=options.cycles, epochs_per_cycle=options.epochs_per_cycle)
    chosen = settings(trials=options.trials, slots=options.slots, seed=options.seed, address=options.address)
    journal = Journal(folder / "journal.jsonl")
    known = bool(journal.entries)
    journal.append(RunResumed(settings=chosen.scalars()) if known else started(chosen, base, space))
    lead = conductor.Conductor(journal=journal, space=space, settings=chosen, base=base, budget=BUDGET)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    trial = simulated_trial(epoch_s=options.epoch_s, events=folder / WORKED)
    meter = Meter(folder / DRIVER, journal.path)
    meter.start()
    with tracked(journal, options.mlflow_uri, console.print):
        with live.LiveView(console, lead.record, chosen, BUDGET.rule) as view:
            journal.listeners.append(view.heard)
            with cluster.joined(chosen, console.print):
                ending = study.run(lead, chosen, DataChoice("synthetic"), folder, say=console.print, trial=trial)
        meter.stop()
        leaderboard.write(leaderboard.leaderboard(lead.record, space, BUDGET.rule), folder)
        best = next((trial.asked.trial for trial in lead.record.completed()), None)
        journal.append(RunEnded(outcome="finished" if ending == "finished" else "interrupted", best=best))
    unfinished = len(lead.record.unfinished)
    print(json.dumps({"ending": ending, "outcomes": {**lead.record.outcomes, "unfinished": unfinished}}))


if __name__ == "__main__":
    main()
