"""What the sampler of a strategy in `search_quality.py` is told of a trial, other than Optuna's way."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Model(Protocol):
    """What the sampler is told of a trial."""

    def seen(self, epoch: int, log_loss: float) -> None:
        """A log loss at a rung."""
        ...

    def completed(self, losses: Mapping[int, float], final: float) -> None:
        """The rungs and the end of a completed trial."""
        ...

    def value(self, losses: Mapping[int, float], final: float | None) -> float:
        """What to tell."""
        ...


class LastValue:
    """The last log loss, whatever the rung."""

    def seen(self, epoch: int, log_loss: float) -> None:
        """Nothing to learn."""

    def completed(self, losses: Mapping[int, float], final: float) -> None:
        """Nothing to learn."""

    def value(self, losses: Mapping[int, float], final: float | None) -> float:
        """The last one."""
        return losses[max(losses)] if final is None else final


class Quantile(LastValue):
    """The share of the trials that reached the same rung with a lower log loss."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._seen: dict[int, list[float]] = {}

    def seen(self, epoch: int, log_loss: float) -> None:
        """Keep it."""
        self._seen.setdefault(epoch, []).append(log_loss)

    def completed(self, losses: Mapping[int, float], final: float) -> None:
        """The end is a rung, too."""
        self.seen(0, final)

    def value(self, losses: Mapping[int, float], final: float | None) -> float:
        """A share, from 0 (best)."""
        epoch, value = (max(losses), losses[max(losses)]) if final is None else (0, final)
        return float(np.mean(np.array(self._seen[epoch]) < value))


class Shift(LastValue):
    """The last log loss and what completed trials gained after that rung, in the median."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._gains: dict[int, list[float]] = {}

    def completed(self, losses: Mapping[int, float], final: float) -> None:
        """Keep what it gained after each rung."""
        for epoch, value in losses.items():
            self._gains.setdefault(epoch, []).append(final - value)

    def value(self, losses: Mapping[int, float], final: float | None) -> float:
        """The expected final log loss."""
        last = max(losses, default=0)
        return losses[last] + float(np.median(self._gains.get(last, [0.0]))) if final is None else final
