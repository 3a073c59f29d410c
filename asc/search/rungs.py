"""Early stopping by asynchronous successive halving (ASHA, Li et al. 2018, https://arxiv.org/abs/1810.05934).

Rungs are only at ends of cycles (design decision 5), where the learning rate is lowest and trials can be compared.
"""

from collections.abc import Collection, Mapping

import numpy as np

from asc.config.experiment import Schedule


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
    """The rungs of one search. They are kept by trial name, so that a resumed search refills them from its journal."""

    def __init__(self, *, epochs: Collection[int], reduction_factor: int) -> None:
        """Set empty rungs at these epochs (`rung_epochs`)."""
        self._factor = reduction_factor
        self._recorded: dict[int, dict[str, float]] = {epoch: {} for epoch in epochs}

    @property
    def recorded(self) -> Mapping[int, Mapping[str, float]]:
        """Validation log losses (nats): rung's epoch -> trial -> log loss."""
        return self._recorded

    def record(self, trial: str, epoch: int, log_loss: float) -> None:
        """Record a log loss from the journal, without a decision."""
        if epoch in self._recorded:
            self._recorded[epoch][trial] = log_loss

    def stops(self, trial: str, epoch: int, log_loss: float) -> bool:
        """Record a trial's log loss at a rung; return whether it is worse than the best 1/r of the trials before it."""
        others = self._recorded[epoch]
        cutoff = np.percentile(list(others.values()), 100 / self._factor) if others else np.inf
        others[trial] = log_loss
        return bool(log_loss > cutoff)
