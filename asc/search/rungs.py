"""Early stopping by asynchronous successive halving (ASHA, Li et al. 2018, https://arxiv.org/abs/1810.05934).

Rungs are only at ends of cycles (design decision 5), where the learning rate is lowest and trials can be compared. They
are compared within a rung only: the figures before pruning and after it, say, are in different ones.

Two variants decide from the same rungs. "stopping", as in Ray Tune: a trial that reaches a rung goes on at once, unless
it is among the worse ones there. "promotion", as published (algorithm 2): every trial pauses at a rung, and a free
worker goes on with a paused trial that is among the best 1/r of its rung, or else begins a new one.
"""

import math
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise

import numpy as np

from asc.config.experiment import Schedule
from asc.search.fronts import ranked
from asc.search.settings import SearchSettings

Others = Callable[[str], tuple[float, ...]]

# More trials than planned go on, because a trial may be outranked after its promotion: 1,000 simulated searches took
# 1.09 times the planned epochs on average, and 1.78 times at most (tests/benchmarks/promotion_epochs.py).
MOST_OF_PLANNED = 1.8


def rung_epochs(schedule: Schedule, reduction_factor: int) -> tuple[int, ...]:
    """The epochs at which trials are compared: ends of cycles, but never the last epoch.

    Those of cycles that grow are at the end of each cycle. Those of equal cycles are after 1, r, r^2, ... cycles, where
    r is the reduction factor.
    """
    ends = schedule.cycle_ends
    if schedule.cycle_growth > 1:
        return ends[:-1]
    powers = {reduction_factor**n for n in range(len(ends).bit_length())}
    return tuple(end for cycle, end in enumerate(ends[:-1], start=1) if cycle in powers)


class Rungs:
    """The rungs of one search. They are kept by trial name, so that a resumed search refills them from its journal.

    A search for a Pareto front compares trials by their log loss and by further figures, which `others` has for a name:
    in the order of `fronts.ranked`, so a small network is not stopped because a large one has a lower log loss.
    """

    def __init__(self, *, epochs: Collection[int], reduction_factor: int, others: Others | None = None) -> None:
        """Set empty rungs at these epochs (`rung_epochs`)."""
        self._factor, self._others = reduction_factor, others
        self._recorded: dict[int, dict[str, float]] = {epoch: {} for epoch in epochs}
        self._orders: dict[int, list[str]] = {}  # of rungs that have not changed: fronts of many trials take long

    @property
    def recorded(self) -> Mapping[int, Mapping[str, float]]:
        """Validation log losses (nats): rung's epoch -> trial -> log loss."""
        return self._recorded

    def record(self, trial: str, epoch: int, log_loss: float) -> None:
        """Record a log loss from the journal, without a decision."""
        if epoch in self._recorded:
            self._recorded[epoch][trial] = log_loss
            self._orders.pop(epoch, None)

    def drop(self, trial: str) -> None:
        """Remove a trial from all rungs."""
        for reached in self._recorded.values():
            reached.pop(trial, None)
        self._orders.clear()

    def stops(self, trial: str, epoch: int, log_loss: float) -> bool:
        """Record a trial's log loss at a rung; return whether it is worse than the best 1/r of the trials before it.

        Of several objectives: whether it is not among the best 1/r, or among as many as there are objectives.
        """
        others = self._recorded[epoch]
        if self._others is not None:
            self.record(trial, epoch, log_loss)
            best = max(1 + len(self._others(trial)), math.ceil(len(others) / self._factor))
            return self._ranked(epoch).index(trial) >= best
        cutoff = np.percentile(list(others.values()), 100 / self._factor) if others else np.inf
        others[trial] = log_loss
        return bool(log_loss > cutoff)

    def _ranked(self, epoch: int) -> list[str]:
        """The trials that reached a rung, best first."""
        reached = self._recorded[epoch]
        if self._others is None:
            return sorted(reached, key=reached.__getitem__)
        if epoch not in self._orders:
            figures = {trial: (log_loss, *self._others(trial)) for trial, log_loss in reached.items()}
            self._orders[epoch] = ranked(figures)
        return self._orders[epoch]

    def planned_epochs(self, trials: float, epochs: int, *, at_least: int = 1) -> float:
        """The epochs of a search by promotion if each rung promotes 1/r of its trials once; `epochs` are a trial's.

        At the end each rung promotes `at_least` of them. The reference comes on top: it trains to its end whatever the
        rungs say.
        """
        levels = [0, *sorted(self._recorded), epochs]
        parts = (
            (to - since) * max(1.0, min(at_least, trials - 1), (trials - 1) / self._factor**number)
            for number, (since, to) in enumerate(pairwise(levels))
        )
        return epochs + (sum(parts) if trials > 1 else 0.0)

    def next_rung(self, epoch: int) -> int | None:
        """The first rung after an epoch; None if there is none."""
        return min((rung for rung in self._recorded if rung > epoch), default=None)

    def promotable(self, paused: Mapping[str, int], *, at_least: int = 0) -> str | None:
        """The paused trial that goes on next; None if no paused trial is good enough.

        A rung promotes those among its best 1/r, or among its best `at_least` if that is more. The highest rung comes
        first, and in it the best trial. `paused` maps the names of paused trials to the rungs at which they wait.
        """
        for epoch in sorted(self._recorded, reverse=True):
            reached = self._recorded[epoch]
            places = max(at_least, len(reached) // self._factor)
            for trial in self._ranked(epoch)[:places]:
                if paused.get(trial) == epoch:
                    return trial
        return None


def planned_epochs(settings: SearchSettings, schedule: Schedule) -> float:
    """The epochs of a whole search by promotion, as `Rungs.planned_epochs`; each budget has its share of the trials."""
    budgets = len(settings.budgets)
    rungs = rungs_of(schedule, settings.reduction_factor)
    return budgets * rungs.planned_epochs(settings.trials / budgets, schedule.epochs, at_least=len(settings.aims))


def rungs_of(schedule: Schedule, reduction_factor: int, others: Others | None = None) -> Rungs:
    """Empty rungs for trials with this schedule (`others` as in `Rungs`)."""
    return Rungs(epochs=rung_epochs(schedule, reduction_factor), reduction_factor=reduction_factor, others=others)
