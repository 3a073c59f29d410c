"""Early stopping by asynchronous successive halving (ASHA, Li et al. 2018, https://arxiv.org/abs/1810.05934).

Rungs lie on cycle ends only (design decision 5): there the learning rate is at its floor and trials can be compared.
"""

from collections.abc import Mapping

import numpy as np


class Rungs:
    """The rungs of one search, kept by trial name so that a resumed search fills them from its journal."""

    def __init__(self, *, epochs_per_cycle: int, epochs: int, reduction_factor: int) -> None:
        """Rungs after 1, r, r^2, ... cycles, r being the reduction factor, but none on the last epoch."""
        self._factor = reduction_factor
        self._recorded: dict[int, dict[str, float]] = {}
        epoch = epochs_per_cycle
        while epoch < epochs:
            self._recorded[epoch] = {}
            epoch *= reduction_factor

    @property
    def recorded(self) -> Mapping[int, Mapping[str, float]]:
        """Log losses by epoch of the rung and trial."""
        return self._recorded

    def record(self, trial: str, epoch: int, log_loss: float) -> None:
        """Enter what a journal holds, without a decision."""
        if epoch in self._recorded:
            self._recorded[epoch][trial] = log_loss

    def stops(self, trial: str, epoch: int, log_loss: float) -> bool:
        """Enter a trial's log loss on a rung; whether it is not among the best 1/r of those that came before it."""
        others = self._recorded[epoch]
        cutoff = np.percentile(list(others.values()), 100 / self._factor) if others else np.inf
        others[trial] = log_loss
        return bool(log_loss > cutoff)
