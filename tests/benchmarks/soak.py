"""A hundred random faults in one search of simulated trials: what was lost (it should be nothing) and what it cost.

    python tests/benchmarks/soak.py --faults 100 --seed 0

Workers, nodes and the driver are killed with SIGKILL, the driver gets SIGTERM, the MLflow server stops and restarts, a
worker's disk is full. Everything but the training is real: Ray Tune on a cluster of four nodes on this machine,
conductor, journal, sampler, MLflow. Between two faults the search completes a few epochs.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from mlflow_server import Server
from ray_nodes import ENVIRONMENT, Nodes, nodes
from search_bench import processes
from simulated import worked

from asc.runs.events import EpochDone, RunResumed, TrialAsked, TrialEnded, TrialRetried
from asc.runs.journal import Entry, read_journal
from asc.runs.record import RunRecord, fold
from asc.search.conductor import Conductor

WEIGHTS = {"worker": 5, "node": 2, "driver": 1, "terminate": 1, "mlflow": 1, "disk": 2}
SLOTS, EPOCH_S, EPOCHS_BETWEEN = 6, 0.5, 12


class Soak:
    """A running search, and the faults to inject into it."""

    def __init__(self, folder: Path, cluster: Nodes, server: Server, trials: int) -> None:
        self.folder, self.journal = folder, folder / "journal.jsonl"
        self._cluster, self._server, self._trials = cluster, server, trials
        self.mark = f"ASC_SOAK={folder}"
        self.environment = {**os.environ, **ENVIRONMENT, "ASC_SOAK": str(folder)}
        self.driver = self._start()
        self.starts = 1

    def _start(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("simulated_search.py")
        options = {"slots": SLOTS, "trials": self._trials, "epoch-s": EPOCH_S, "cycles": 2, "epochs-per-cycle": 3}
        named = [f"--{name}={value}" for name, value in options.items()]
        with (self.folder / "driver.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, script, self.folder, *named]
                + ["--address", self._cluster.address, "--mlflow-uri", self._server.uri],
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def epochs(self) -> int:
        """The number of epochs in the journal."""
        return self.journal.read_bytes().count(b'"EpochDone"') if self.journal.exists() else 0

    def get_on(self, epochs: int) -> None:
        """Wait until the search has trained `epochs` more epochs, restarting its driver if that has ended."""
        target = self.epochs() + epochs
        wait(lambda: self.epochs() >= target or self.ended(), f"{epochs} more epochs")

    def ended(self) -> bool:
        """Whether the search is over; restarts a driver that ended too early."""
        if self.driver.poll() is None:
            return False
        if self.driver.returncode == 0 and self.record().ended is not None and not self.open_trials():
            return True
        self.driver = self._start()
        self.starts += 1
        return False

    def record(self) -> RunRecord:
        """The state of the run, from the journal."""
        return fold(read_journal(self.journal))

    def open_trials(self) -> bool:
        """Whether trials are missing or unfinished."""
        record = self.record()
        return len(record.trials) < self._trials or any(trial.ended is None for trial in record.trials.values())

    def do(self, fault: str, rng: random.Random) -> None:
        """Inject one fault."""
        workers = processes(self.mark, "ray::ImplicitFunc")
        match fault:
            case "worker" if workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
            case "disk" if workers:
                # Only the worker is limited; the raylet and the driver can still write.
                resource.prlimit(rng.choice(workers), resource.RLIMIT_FSIZE, (8, 8))
            case "node":
                number = rng.randrange(1, len(self._cluster.raylets))
                os.kill(self._cluster.raylets.pop(number), signal.SIGKILL)
                self._cluster.add(2)
            case "driver":
                self.driver.kill()
                self.driver.wait()
            case "terminate":
                self.driver.terminate()
                self.driver.wait()
            case "mlflow":
                self._server.stop()
                self.get_on(EPOCHS_BETWEEN)
                self._server.start()


def wait(holds: Callable[[], bool], what: str, limit_s: float = 300.0) -> None:
    """Poll until `holds()` is true, and exit with an error after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not reached within {limit_s:.0f} s")
        time.sleep(0.1)


def lost(soak: Soak) -> dict[str, int]:
    """Counts by name; all of them should be 0."""
    events = [entry.event for entry in read_journal(soak.journal)]
    record = soak.record()
    asked = Counter(e.trial for e in events if isinstance(e, TrialAsked))
    ended = Counter(e.trial for e in events if isinstance(e, TrialEnded))
    heard = Counter((e.trial, e.metrics.epoch) for e in events if isinstance(e, EpochDone))
    held: dict[tuple[str, int], float] = {}
    again = 0
    for line in worked(soak.folder / "worked.txt"):
        before = held.setdefault((line.trial, line.epoch), line.ended_s)
        again += line.began_s > before
    rows = {row["trial"]: row["outcome"] for row in json.loads((soak.folder / "leaderboard.json").read_text())}
    return {
        "trials asked twice": sum(count > 1 for count in asked.values()),
        "trials without an end": sum(name not in ended for name in asked),
        "trials ended twice": sum(count > 1 for count in ended.values()),
        "trials that failed": sum(t.ended is not None and t.ended.outcome == "failed" for t in record.trials.values()),
        "epochs missing": sum(
            len(set(range(1, t.ended.epochs + 1)) - t.epochs.keys()) for t in record.trials.values() if t.ended
        ),
        "epochs journalled twice": sum(count > 1 for count in heard.values()),
        "epochs trained again although a checkpoint had them": again,
        "leaderboard rows that differ": sum(
            rows.get(name) != (t.ended and t.ended.outcome) for name, t in record.trials.items()
        ),
        **mlflow_differs(soak.record(), soak._server.uri),
        **sampler_differs(soak),
    }


def mlflow_differs(record: RunRecord, uri: str) -> dict[str, int]:
    """Counts of disagreements between MLflow and the journal."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    runs = []
    token = None
    while True:
        page = client.search_runs(["1"], max_results=1000, page_token=token)
        runs += page
        token = page.token
        if not token:
            break
    children = {run.data.tags["asc.trial"]: run for run in runs if "asc.trial" in run.data.tags}
    wrong = 0
    for name, trial in record.trials.items():
        run = children.get(name)
        points = client.get_metric_history(run.info.run_id, "valid_log_loss") if run else []
        expected = {epoch: metrics.valid_log_loss for epoch, metrics in trial.epochs.items()}
        wrong += sorted((point.step, point.value) for point in points) != sorted(expected.items())
    return {
        "MLflow runs missing or doubled": abs(len(runs) - 1 - len(record.trials)),
        "MLflow runs left running": sum(run.info.status == "RUNNING" for run in runs),
        "MLflow runs with different epochs": wrong,
    }


def sampler_differs(soak: Soak) -> dict[str, int]:
    """Points that the sampler of a new conductor, built from a copy of the journal, lacks or treats as running."""
    from optuna.trial import TrialState
    from synthetic_journal import BUDGET, reference, settings, space_of

    from asc.runs.journal import Journal

    copy = soak.folder / "copy" / "journal.jsonl"
    copy.parent.mkdir()
    shutil.copy(soak.journal, copy)
    lead = Conductor(
        journal=Journal(copy),
        space=space_of(2),
        settings=settings(trials=len(soak.record().trials), slots=SLOTS),
        base=reference(cycles=2, epochs_per_cycle=3),
        budget=BUDGET,
    )
    (sampler,) = lead._points._samplers._samplers  # private: nothing else needs it
    states = [trial.state for trial in sampler.study().trials]
    points = sum(trial.asked.point is not None for trial in lead.record.trials.values())
    points += sum(bool(refused.point) for refused in lead.record.refused)
    return {
        "points that the sampler lacks": points - len(states),
        "points that it treats as running": sum(state == TrialState.RUNNING for state in states),
    }


def main() -> None:
    """Inject the faults, let the search end, and print what was lost and what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=100, metavar="N", help="default 100")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="chooses the faults (default 0)")
    parser.add_argument("--trials", type=int, default=0, metavar="N", help="default: eight per fault")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    server = Server(folder)
    server.start()
    wait(server.answers, "the MLflow server")
    began = time.monotonic()
    struck: list[tuple[str, float]] = []
    environment = {**os.environ, "ASC_SOAK": str(folder)}
    with nodes(0, 2, 2, 2, environment=environment) as cluster:
        soak = Soak(folder, cluster, server, options.trials or 8 * options.faults)
        for number in range(options.faults):
            soak.get_on(EPOCHS_BETWEEN)
            fault = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            struck.append((fault, time.time()))
            soak.do(fault, rng)
            print(f"[{number + 1}/{options.faults}] {fault}, {soak.epochs()} epochs done", flush=True)
        wait(soak.ended, "the end of the search", limit_s=3600)
    wall_s = time.monotonic() - began
    report(soak, struck, wall_s)
    server.stop()


def recovered_s(entries: Sequence[Entry], fault: str, struck_s: float) -> float | None:
    """Seconds from a fault to the next epoch of the trial it hit, or of the resumed search; None without one."""
    behind = [entry for entry in entries if entry.time_s > struck_s]
    cause = RunResumed if fault in ("driver", "terminate") else TrialRetried
    hit = next((place for place, entry in enumerate(behind) if isinstance(entry.event, cause)), None)
    if hit is None:
        return None
    trial = getattr(behind[hit].event, "trial", None)
    epochs = (e for e in behind[hit:] if isinstance(e.event, EpochDone) and trial in (None, e.event.trial))
    return next((entry.time_s - struck_s for entry in epochs), None)


def report(soak: Soak, struck: list[tuple[str, float]], wall_s: float) -> None:
    """Print what was lost and what it cost."""
    entries, record = read_journal(soak.journal), soak.record()
    retries = sum(isinstance(entry.event, TrialRetried) for entry in entries)
    useful_s = sum(metrics.seconds for trial in record.trials.values() for metrics in trial.epochs.values())
    done = Counter(fault for fault, _ in struck)
    print(f"\n{len(struck)} faults ({', '.join(f'{count} {fault}' for fault, count in done.most_common())})")
    outcomes = Counter(trial.ended.outcome for trial in record.trials.values() if trial.ended)
    print(
        f"{len(record.trials)} trials: {dict(outcomes)}; {retries} retried; the driver was started {soak.starts} times"
    )
    print("lost:")
    losses = {**lost(soak), "drivers that ended on their own": soak.starts - 1 - done["driver"] - done["terminate"]}
    for what, count in losses.items():
        print(f"  {count:4d} {what}")
    print(f"cost: {wall_s:.0f} s, in which {SLOTS} slots trained {useful_s:.0f} s ({useful_s / SLOTS / wall_s:.0%})")
    for fault in done:
        times = [recovered_s(entries, fault, at) for name, at in struck if name == fault]
        seconds = sorted(s for s in times if s is not None)
        if seconds and fault != "mlflow":
            print(f"  {fault}: next epoch of what it hit after {seconds[len(seconds) // 2]:.1f} s (median of")
            print(f"    {len(seconds)}; at most {seconds[-1]:.1f})")
    print(f"everything is in {soak.folder}")
    if any(losses.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
