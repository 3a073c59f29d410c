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


CalibrationMethod = Literal["none", "temperature", "multinomial", "one_vs_rest"]
Centre = Literal["identity", "temperature"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """What came of calibrating a network on the clips of one split.

    The three log losses (micro, in nats) are those of nested cross-validation over the groups of that split: without
    calibration, with a single temperature, and with `method`; `gain_standard_error` is that of the difference of the
    first and the last, over groups. The rest is from all clips: `strength` of the regularisation and what it shrinks
    the factors towards, the identity or the identity over `temperature`; a strength of None is an infinite one, so that
    the factors are that centre itself. `applied` is False where the gain was not larger than its standard error, so
    that the network was left as it was; with a strength that was given, not chosen, it is always True.
    """

    method: CalibrationMethod
    split: Split
    clips: int
    groups: int
    shrunk_towards: Centre
    strength: float | None
    temperature: float
    log_loss_uncalibrated: float
    log_loss_temperature: float
    log_loss_method: float
    gain_standard_error: float
    applied: bool

    @property
    def optimistic(self) -> bool:
        """Whether test clips were used, so that figures on the test fold flatter the network."""
        return self.split == "test" and self.applied


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
