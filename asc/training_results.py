"""What a training says of itself: its epochs while it runs, and how it ended. Frozen, without torch.

Log losses are in nats, accuracies from 0 to 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from asc.results import CalibrationReport, Evaluation, Interval, SplitFigures, StoredSize


class Signal(Enum):
    """The answer of `on_epoch` to a training loop after each epoch."""

    CONTINUE = "continue"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochMetrics:
    """One epoch, counted from 1. Validation figures are macro, of the network in training on full-length clips."""

    epoch: int
    learning_rate: float
    train_loss: float
    valid_log_loss: float
    valid_accuracy: float
    seconds: float


OnEpoch = Callable[[EpochMetrics], Signal]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalFigures:
    """A worker's result of a completed training: figures of the stored network on validation.

    `epochs` is the number of epochs trained. `calibrated` says whether the calibration was applied, and is None if none
    was asked for. `confirmation` has the figures on clips that the search has not seen, if they were asked for. The
    intervals (95 %) are None if they cannot be computed.
    """

    log_loss: float
    accuracy: float
    epochs: int
    built: StoredSize
    calibrated: bool | None = None
    confirmation: SplitFigures | None = None
    log_loss_interval: Interval | None = None
    accuracy_interval: Interval | None = None


OutcomeKind = Literal["completed", "stopped", "diverged", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A training that completed; `evaluation` is that of the stored network on the validation split.

    `stored` is counted on that network and equals the size law's prediction. If a calibration was asked for,
    `uncalibrated` is the evaluation before it.
    """

    evaluation: Evaluation
    epochs: int
    best_epoch: int
    stored: StoredSize
    seconds: float
    calibration: CalibrationReport | None = None
    uncalibrated: Evaluation | None = None

    @property
    def optimistic(self) -> bool:
        """Whether the network was calibrated on test clips."""
        return self.calibration is not None and self.calibration.optimistic


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A training that `on_epoch` stopped after this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diverged:
    """A training whose loss became NaN or infinite in this epoch."""

    epoch: int


TrainingEnd = Completed | Stopped | Diverged
