"""What training and evaluation say: frozen, without torch. Log losses are in nats, accuracies within 0 and 1."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

Split = Literal["train", "valid", "calibration", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "calibration", "test")


class Signal(Enum):
    """What a training loop is told after each epoch."""

    CONTINUE = "continue"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochMetrics:
    """One epoch, counted from 1. Validation is that of the fake-quantised network on full-length clips (macro)."""

    epoch: int
    learning_rate: float
    train_loss: float
    valid_log_loss: float
    valid_accuracy: float
    seconds: float


Report = Callable[[EpochMetrics], Signal]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigures:
    """Log loss and accuracy of one class or one device; a device's are macro over the classes that it recorded."""

    name: str
    clips: int
    log_loss: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A network on one split. `log_loss` and `accuracy` are macro: the mean over classes of the per-class mean."""

    split: Split
    clips: int
    log_loss: float
    accuracy: float
    micro_log_loss: float
    micro_accuracy: float
    per_class: tuple[GroupFigures, ...]
    per_device: tuple[GroupFigures, ...]


OutcomeKind = Literal["completed", "stopped", "diverged", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A training that ended; `evaluation` is that of the stored network on the validation split."""

    evaluation: Evaluation
    epochs: int
    best_epoch: int
    built_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A training that its `report` stopped after this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diverged:
    """A training whose loss was no longer a number in this epoch."""

    epoch: int


TrainingEnd = Completed | Stopped | Diverged
