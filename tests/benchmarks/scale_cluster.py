"""Measure a search on a simulated cluster: how busy its slots are, and how much CPU the driver needs."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import fmean, quantiles

from simulated import Worked, worked
from simulated_search import DRIVER, WORKED
from synthetic_journal import reference, settings, write_journal

EPOCHS = 6
SCRIPT = Path(__file__).with_name("simulated_search.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Figures of a search, from when all slots were busy until the last trial started.

    `trial_s` is a trial's training time, `gap_s` the time from its end to the next trial's start, `pause_s` the time
    between two of its epochs. CPU seconds are the driver's, per trial.
    """

    slots: int
    history: int
    span_s: float
    trials: int
    trial_s: float
    occupancy: float
    gap_s: float
    gap_95_s: float
    pause_s: float
    cpu_s: float
    main_cpu_s: float
    mlflow_cpu_s: float
    driver_share: float
    machine_share: float
    rss_mb: float

    @property
    def lost_s(self) -> float:
        """Seconds that a trial occupies its slot without training."""
        return self.trial_s * (1 / self.occupancy - 1)

    def occupancy_at(self, trial_s: float) -> float:
        """The occupancy with trials of that length, if each loses the same seconds."""
        return trial_s / (trial_s + self.lost_s)


def measure(folder: Path, *, slots: int, rounds: int, trial_s: float, history: int = 0, uri: str = "none") -> Cluster:
    """Run a search of `rounds` trials per slot, after `history` trials that are already in its journal."""
    total = history + slots * rounds
    if history:
        chosen = settings(trials=history, slots=slots)
        base = reference(cycles=1, epochs_per_cycle=EPOCHS)
        write_journal(folder / "journal.jsonl", trials=history, base=base, chosen=chosen)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(SCRIPT), str(folder), "--slots", str(slots), "--trials", str(total)]
    command += ["--epochs-per-cycle", str(EPOCHS), "--epoch-s", str(trial_s / EPOCHS), "--mlflow-uri", uri]
    with (folder / "log.txt").open("w") as log:
        subprocess.run(command, stdout=log, stderr=log, check=True)
    return figures(folder, slots=slots, history=history)


def figures(folder: Path, *, slots: int, history: int) -> Cluster:
    """Compute the figures from the files of a search."""
    epochs = worked(folder / WORKED)
    trials: dict[str, list[Worked]] = {}
    for each in epochs:
        trials.setdefault(each.trial, []).append(each)
    spans = [(trial[0].began_s, trial[-1].ended_s) for trial in trials.values()]
    begin_s, end_s = _all_at_work(spans, slots)
    busy_s = sum(max(0.0, min(e.ended_s, end_s) - max(e.began_s, begin_s)) for e in epochs)
    # A freed slot goes to the next trial to start, in whichever process.
    starts = sorted(began_s for began_s, _ in spans if began_s > begin_s)
    ends = sorted(ended_s for _, ended_s in spans if ended_s > begin_s)
    gaps = [start - end for end, start in zip(ends, starts, strict=False)]
    pauses = [b.began_s - a.ended_s for trial in trials.values() for a, b in pairwise(trial)]
    samples = [json.loads(line) for line in (folder / DRIVER).read_text().splitlines()]
    within = [s for s in samples if begin_s <= s["time_s"] <= end_s]
    first, last = within[0], within[-1]
    seconds = last["time_s"] - first["time_s"]
    ended = sum(first["time_s"] <= ended_s <= last["time_s"] for ended_s in ends)
    used = {key: last[key] - first[key] for key in ("cpu_s", "main_cpu_s", "mlflow_cpu_s", "idle_cpu_s")}
    return Cluster(
        slots=slots,
        history=history,
        span_s=end_s - begin_s,
        trials=len(gaps),
        trial_s=fmean(sum(e.ended_s - e.began_s for e in trial) for trial in trials.values()),
        occupancy=busy_s / (slots * (end_s - begin_s)),
        gap_s=fmean(gaps),
        gap_95_s=quantiles(gaps, n=20)[-1],
        pause_s=fmean(pauses),
        cpu_s=used["cpu_s"] / ended,
        main_cpu_s=used["main_cpu_s"] / ended,
        mlflow_cpu_s=used["mlflow_cpu_s"] / ended,
        driver_share=used["cpu_s"] / seconds,
        machine_share=len(os.sched_getaffinity(0)) - used["idle_cpu_s"] / seconds,
        rss_mb=samples[-1]["rss_mb"],
    )


def _all_at_work(spans: list[tuple[float, float]], slots: int) -> tuple[float, float]:
    """Return when all slots first had a trial, and when the last trial started."""
    changes = sorted([(began_s, 1) for began_s, _ in spans] + [(ended_s, -1) for _, ended_s in spans])
    running = accumulate(change for _, change in changes)
    begin_s = next((time_s for (time_s, _), count in zip(changes, running, strict=True) if count == slots), None)
    if begin_s is None:
        raise SystemExit(f"the {slots} slots were never all busy: give more --rounds or a longer --trial-s")
    return begin_s, max(began_s for began_s, _ in spans)
