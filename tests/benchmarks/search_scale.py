"""How a search scales: simulated trials on 1 to 64 slots of this machine, and the prediction for 1,000 slots.

    python tests/benchmarks/search_scale.py --slots 1 4 16 64 --trial-s 20

Conductor, Ray Tune, journal, live view and MLflow are real; a trial sleeps instead of training and does not need
torch. Trials are shorter than the minute in question. The seconds that a slot loses per trial (from its end to the
next one's start, and between epochs) do not depend on the trial's length, so the occupancy with trials of a minute is
60 / (60 + those seconds). Here, unlike on a cluster, the workers share the cores with the driver, so the driver's own
CPU time per trial is printed too. It bounds the number of slots that the driver can serve.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from scale_cluster import EPOCHS, Cluster, measure
from simulated import log_loss, metrics_of
from synthetic_journal import BUDGET, reference, settings, space_of, write_journal

from asc.runs.journal import Journal, read_journal
from asc.search.conductor import Conductor
from asc.size.law import cost
from asc.training_results import FinalFigures

MINUTE_S, MANY = 60.0, 1000
_Found = TypeVar("_Found")


def clusters(slots: list[int], *, trial_s: float, rounds: int, folder: Path) -> Cluster:
    """Print a line for each number of slots, and return the figures of the last."""
    print(f"simulated trials of {trial_s:g} s in {EPOCHS} epochs, {rounds} for each slot")
    print(f"{'slots':>6}{'occupancy':>11}{'at 60 s':>9}{'end->start':>12}{'95 %':>8}{'between epochs':>16}", end="")
    print(f"{'driver CPU/trial':>18}{'driver':>8}{'machine':>9}{'RSS':>9}")
    for count in slots:
        found = measure(folder / f"slots-{count}", slots=count, rounds=rounds, trial_s=trial_s)
        print(
            f"{count:6d}{found.occupancy:11.1%}{found.occupancy_at(MINUTE_S):9.1%}{1e3 * found.gap_s:9.0f} ms"
            f"{1e3 * found.gap_95_s:5.0f} ms{1e3 * found.pause_s:13.0f} ms{1e3 * found.cpu_s:15.0f} ms"
            f"{found.driver_share:8.0%}{found.machine_share:8.2f}{found.rss_mb:6.0f} MB",
            flush=True,
        )
    return found


def histories(numbers: list[int], folder: Path) -> dict[int, float]:
    """Print the cost of events after each number of trials; return the CPU ms of a suggestion for each number."""
    base, suggestion_ms = reference(cycles=2, epochs_per_cycle=3), {}
    print(f"\n{'trials':>7}{'suggestion':>12}{'epoch':>9}{'end':>9}{'resume':>9}{'journal':>10}{'an event':>10}")
    for number in numbers:
        path = folder / f"history-{number}" / "journal.jsonl"
        chosen = settings(trials=number + 1000, slots=64)
        write_journal(path, trials=number, base=base, chosen=chosen)
        events, size_bytes = len(read_journal(path)), path.stat().st_size
        began_s = time.process_time()
        lead = Conductor(journal=Journal(path), space=space_of(2), settings=chosen, base=base, budget=BUDGET)
        lead.next_trial("first")
        resumed_s = time.process_time() - began_s
        costs = _costs(lead)
        suggestion_ms[number] = costs[0]
        print(
            f"{number:7,d}{costs[0]:9.1f} ms{costs[1]:6.2f} ms{costs[2]:6.2f} ms{resumed_s:7.2f} s"
            f"{size_bytes / 1e6:7.1f} MB{size_bytes / events:8.0f} B",
            flush=True,
        )
    return suggestion_ms


def _costs(lead: Conductor, repeats: int = 12) -> tuple[float, float, float]:
    """Median CPU milliseconds of a suggestion, an epoch and the end of a trial."""
    times: tuple[list[float], ...] = ([], [], [])
    for number in range(repeats):
        worker = f"w{number}"
        assignment, asked_ms = _timed(lambda worker=worker: lead.next_trial(worker))
        assert assignment is not None
        experiment, epoch = assignment.experiment, metrics_of(assignment.experiment, 1, 1.0)
        _, heard_ms = _timed(lambda worker=worker, epoch=epoch: lead.epoch_done(worker, epoch))
        stored = cost(experiment).stored
        figures = FinalFigures(log_loss=log_loss(experiment, EPOCHS), accuracy=0.5, epochs=1, built=stored)
        _, ended_ms = _timed(lambda worker=worker, figures=figures: lead.completed(worker, figures))
        lead.left(worker)
        for kind, taken_ms in zip(times, (asked_ms, heard_ms, ended_ms), strict=True):
            kind.append(taken_ms)
    asked, heard, ended = (sorted(kind)[repeats // 2] for kind in times)
    return asked, heard, ended


def _timed(action: Callable[[], _Found]) -> tuple[_Found, float]:
    """Return an action's result and its CPU milliseconds."""
    began_s = time.process_time()
    found = action()
    return found, 1e3 * (time.process_time() - began_s)


def mlflow_rate(folder: Path, trials: int) -> float:
    """Events per second that MLflow writes into a sqlite database, from a journal of `trials` trials."""
    from asc.tracking.mlflow import send_journal

    run = folder / "tracked"
    base = reference(cycles=2, epochs_per_cycle=3)
    write_journal(run / "journal.jsonl", trials=trials, base=base, chosen=settings(trials=trials, slots=64))
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    send_journal(run, uri=uri)  # creates the tables
    again = folder / "again"
    write_journal(again / "journal.jsonl", trials=trials, base=base, chosen=settings(trials=trials, slots=32))
    began_s = time.monotonic()
    sent = send_journal(again, uri=uri).events
    return sent / (time.monotonic() - began_s)


def main() -> None:
    """Measure, print and predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 4, 16, 64], metavar="N", help="default 1 4 16 64")
    parser.add_argument("--trial-s", type=float, default=20.0, metavar="S", help="length of a trial (default 20)")
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="trials for each slot (default 4)")
    parser.add_argument(
        "--trials", type=int, nargs="+", default=[100, 1000, 5000], metavar="N", help="default 100 1000 5000"
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    suggestion_ms = histories(options.trials, folder)
    rate = mlflow_rate(folder, 100)
    print(f"\nMLflow takes {rate:.0f} events per second (sqlite)\n")
    largest = clusters(options.slots, trial_s=options.trial_s, rounds=options.rounds, folder=folder)
    trials_a_second, events = MANY / MINUTE_S, EPOCHS + 2
    cpu_s = largest.cpu_s + max(suggestion_ms.values()) / 1e3 - suggestion_ms[min(suggestion_ms)] / 1e3
    print(f"\n{MANY:,} slots with trials of a minute: {trials_a_second:.1f} trials and", end=" ")
    print(f"{trials_a_second * events:.0f} events per second;")
    print(f"  the driver needs {cpu_s:.3f} s of CPU per trial after {max(suggestion_ms):,} trials: ", end="")
    print(f"{trials_a_second * cpu_s:.0%} of a core, so it feeds {MINUTE_S / cpu_s:,.0f} slots;")
    print(f"  MLflow needs {trials_a_second * events / rate:.0%} of its time to keep up")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
