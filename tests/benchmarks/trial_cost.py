"""Where the wall time of a search goes, read from the times in its journal.

    python tests/benchmarks/trial_cost.py RUN [--json]              # a run's folder
    python tests/benchmarks/trial_cost.py [--json] -- --trials 4    # search first, with these options

Parts of a trial: from the question for a point to the first step (a free slot, the process, the network); the epochs
themselves (training and validation); what lies between epochs (checkpoint, report, rungs); and from the last epoch to
the end (compression, calibration, evaluation, the model file). The time to the first step of the run (Ray, packing, the
process) is part of its first trial's. Trials that were retried are left out. Shares are of the time of all trials.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from asc.runs.events import EpochDone, RunStarted, TrialAsked, TrialEnded, TrialRetried
from asc.runs.journal import Entry, read_journal

ROOT = Path(__file__).resolve().parents[2]
Parts = dict[str, float]


def parts_of(entries: Sequence[Entry]) -> Parts | None:
    """Seconds of each part of a trial; None if it has no end, no epoch, or was retried."""
    epochs = [(entry.time_s, entry.event.metrics.seconds) for entry in entries if isinstance(entry.event, EpochDone)]
    ended = [entry.time_s for entry in entries if isinstance(entry.event, TrialEnded)]
    if not epochs or not ended or any(isinstance(entry.event, TrialRetried) for entry in entries):
        return None
    asked = next(entry.time_s for entry in entries if isinstance(entry.event, TrialAsked))
    seconds = sum(spent for _, spent in epochs)
    first_step = epochs[0][0] - epochs[0][1]
    return {
        "asked to first step": first_step - asked,
        "epochs": seconds,
        "between epochs": epochs[-1][0] - first_step - seconds,
        "last epoch to end": ended[-1] - epochs[-1][0],
    }


def costs(entries: Sequence[Entry]) -> dict[str, Parts]:
    """Sums, shares and medians of the parts over all trials, and the seconds of the whole run."""
    by_trial: dict[str, list[Entry]] = {}
    for entry in entries:
        if isinstance(entry.event, TrialAsked | EpochDone | TrialRetried | TrialEnded):
            by_trial.setdefault(entry.event.trial, []).append(entry)
    found = [parts for trial in by_trial.values() if (parts := parts_of(trial)) is not None]
    if not found:
        sys.exit("no trial of this run has ended yet: wait for one, or give another run")
    started = next(entry.time_s for entry in entries if isinstance(entry.event, RunStarted))
    first = min(entry.time_s - entry.event.metrics.seconds for entry in entries if isinstance(entry.event, EpochDone))
    sums = {part: sum(parts[part] for parts in found) for part in found[0]}
    return {
        "seconds": sums,
        "share": {part: spent / sum(sums.values()) for part, spent in sums.items()},
        "median": {part: statistics.median(parts[part] for parts in found) for part in sums},
        "run": {"start": first - started, "whole": entries[-1].time_s - started, "trials": len(found)},
    }


def searched(options: Sequence[str], folder: Path) -> Path:
    """Run a search with these options; return its folder."""
    command = [sys.executable, str(ROOT / "launch" / "search.py"), "--budget-kb", "128", *options]
    command += ["--name", "cost", "--mlflow-uri", "none", "--storage", str(folder)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return folder / "cost"


def main() -> None:
    """Print the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--json", action="store_true")
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:cut])
    with tempfile.TemporaryDirectory() as folder:
        run = options.run or searched(sys.argv[cut + 1 :], Path(folder))
        found = costs(read_journal(run / "journal.jsonl"))
    if options.json:
        print(json.dumps(found))
        return
    whole = found["run"]
    print(f"{whole['trials']:.0f} trials, {whole['whole']:.0f} s; {whole['start']:.1f} s to the first step")
    for part, spent in found["seconds"].items():
        share, median = found["share"][part], found["median"][part]
        print(f"    {part:20s} {spent:9.1f} s  {100 * share:5.1f} %  median of a trial {median:7.2f} s")


if __name__ == "__main__":
    main()
