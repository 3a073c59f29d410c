"""How many epochs searches by promotion take, in multiples of those that successive halving plans.

A trial may be outranked after it was promoted, so an asynchronous search promotes more than 1/r of a rung. Here a
trial's log losses at the rungs are correlated normal numbers, and a few workers train at uneven speed.

    python tests/benchmarks/promotion_epochs.py
"""

import heapq
from dataclasses import dataclass, field

import numpy as np

from asc.config.experiment import Schedule
from asc.search.rungs import Rungs, rungs_of

WORKERS, SEEDS, CORRELATION = 4, 40, 0.8
SCHEDULES = (
    (Schedule(cycles=2, epochs_per_cycle=3), 2),
    (Schedule(cycles=3, epochs_per_cycle=8), 2),
    (Schedule(cycles=3, epochs_per_cycle=1, cycle_growth=4), 4),
    (Schedule(cycles=5, epochs_per_cycle=1, cycle_growth=2), 2),
    (Schedule(cycles=4, epochs_per_cycle=1, cycle_growth=3), 3),
)


@dataclass(slots=True)
class Simulation:
    """A search of made-up trials; trial "0" is the reference and never pauses."""

    rungs: Rungs
    schedule: Schedule
    trials: int
    rng: np.random.Generator
    paused: dict[str, int] = field(default_factory=dict)
    asked: int = 0

    def taken(self) -> int:
        """Run the search and return the epochs that it took."""
        ends = [*self.rungs.recorded, self.schedule.epochs]
        quality = self.rng.normal(size=self.trials)
        noise = self.rng.normal(size=(len(ends), self.trials)) * np.sqrt(1 - CORRELATION**2)
        now, total, running = 0.0, 0, list[tuple[float, str, int]]()
        while True:
            while len(running) < WORKERS and (name := self.next(idle=not running)) is not None:
                since = self.paused.pop(name, 0)
                to = ends[-1] if name == "0" else min(end for end in ends if end > since)
                total += to - since
                heapq.heappush(running, (now + (to - since) * self.rng.uniform(0.5, 1.5), name, to))
            if not running:
                return total
            now, name, to = heapq.heappop(running)
            if to < ends[-1]:
                loss = CORRELATION * quality[int(name)] + noise[ends.index(to), int(name)]
                self.rungs.record(name, to, float(loss))
                self.paused[name] = to

    def next(self, *, idle: bool) -> str | None:
        """The next trial, as the conductor chooses it; `idle` says that no trial runs."""
        found = self.rungs.promotable(self.paused)
        if found is None and self.asked < self.trials:
            found, self.asked = str(self.asked), self.asked + 1
        return found if found is not None or not idle else self.rungs.promotable(self.paused, at_least=1)


def main() -> None:
    """Print a row for each schedule and number of trials, then the mean and the maximum of all searches."""
    print("trials  rungs              planned  mean   most  share of full trainings")
    every = []
    for trials in (8, 20, 40, 100, 400):
        for schedule, factor in SCHEDULES:
            planned = rungs_of(schedule, factor).planned_epochs(trials, schedule.epochs)
            searches = (
                Simulation(rungs_of(schedule, factor), schedule, trials, np.random.default_rng(seed))
                for seed in range(SEEDS)
            )
            found = np.array([search.taken() for search in searches]) / planned
            every.extend(found)
            rungs = " ".join(map(str, [*rungs_of(schedule, factor).recorded, schedule.epochs]))
            share = found.mean() * planned / (trials * schedule.epochs)
            print(f"{trials:6}  {rungs:18} {planned:7.0f}  {found.mean():.2f}   {found.max():.2f}  {share:.0%}")
    print(f"all {len(every)} searches: {np.mean(every):.2f} times the planned epochs, at most {np.max(every):.2f}")


if __name__ == "__main__":
    main()
