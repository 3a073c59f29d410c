"""The learning rate: cyclic, policy triangular2 (Smith 2017, https://arxiv.org/abs/1506.01186).

In each cycle it rises from the minimum for half of the steps and falls back to it in the other half. The first peak is
the maximum; the height above the minimum halves with each cycle (technical report, section 2.1).
"""

from bisect import bisect_right

from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler

from asc.config.experiment import Schedule
from asc.training.adam import Adam


def cyclic(optimizer: Adam, schedule: Schedule, steps_per_epoch: int) -> LRScheduler:
    """Return the scheduler of an optimiser that begins at the minimum; step it once per optimiser step.

    Cycles of equal length are torch's CyclicLR, which has no other: cycles that grow are a LambdaLR.
    """
    if schedule.cycle_growth > 1:
        return LambdaLR(optimizer, lambda step: rate(schedule, step / steps_per_epoch) / schedule.learning_rate_min)
    return CyclicLR(
        optimizer,
        base_lr=schedule.learning_rate_min,
        max_lr=schedule.learning_rate_max,
        step_size_up=schedule.epochs_per_cycle * steps_per_epoch / 2,  # type: ignore[arg-type]  # torch makes it a float
        mode="triangular2",
        cycle_momentum=False,
    )


def rate(schedule: Schedule, epochs: float) -> float:
    """The learning rate after this many epochs, which may be a fraction; from the last epoch on, the minimum."""
    if epochs >= schedule.epochs:
        return schedule.learning_rate_min
    cycle = bisect_right(schedule.cycle_ends, epochs)
    length = schedule.cycle_lengths[cycle]
    done = (epochs - (schedule.cycle_ends[cycle] - length)) / length
    height = (schedule.learning_rate_max - schedule.learning_rate_min) * 0.5**cycle
    return schedule.learning_rate_min + height * (1 - abs(2 * done - 1))
