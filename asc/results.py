"""What training and evaluation say: frozen, without torch. Log losses are in nats, accuracies within 0 and 1."""

from collections.abc import Callable, Iterable
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
    """One epoch, counted from 1. Validation is that of the network in training on full-length clips (macro)."""

    epoch: int
    learning_rate: float
    train_loss: float
    valid_log_loss: float
    valid_accuracy: float
    seconds: float


OnEpoch = Callable[[EpochMetrics], Signal]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigures:
    """Log loss and accuracy of one class, or of the clips of some devices; a device's are macro over its classes.

    `calibration_error` is the expected calibration error, None where it was not asked for: a class has none that says
    anything, and a single device has few clips for it.
    """

    name: str
    clips: int
    log_loss: float
    accuracy: float
    calibration_error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Both ends of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """95 % bootstrap intervals over locations (`asc.evaluation.bootstrap`).

    `groups` locations were drawn from `resamples` times. `lone_classes` is how many classes have a single location:
    how much such a class varies cannot be told, so the intervals leave it out and are too narrow.
    """

    groups: int
    lone_classes: int
    resamples: int
    log_loss: Interval
    accuracy: Interval
    calibration_error: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A network on one split. `log_loss` and `accuracy` are macro: the mean over classes of the per-class mean.

    `calibration_error` is the expected calibration error over clips (`asc.evaluation.metrics`). `per_exposure` has the
    rows "seen" and "unseen", by whether a clip's device occurs in the set's training split, and is empty where the
    split does not have both. `intervals` are None where they were not asked for, as in the epochs of a training, and
    where nothing can be said.
    """

    split: Split
    clips: int
    log_loss: float
    accuracy: float
    micro_log_loss: float
    micro_accuracy: float
    per_class: tuple[GroupFigures, ...]
    per_device: tuple[GroupFigures, ...]
    calibration_error: float | None = None
    per_exposure: tuple[GroupFigures, ...] = ()
    intervals: Intervals | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Clips whose highest probability is in (low, high]: its mean, and the share that was right; None without clips."""

    low: float
    high: float
    clips: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """All that is found out about a network on one split.

    `confusion[i][j]` counts the clips of class i that were taken for class j.
    """

    evaluation: Evaluation
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says of one recording: the probability of every label; both in the order of the model's labels.

    `note` is what speaks against it, such as silence, and None for most.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    note: str | None = None

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.top(1)[0][0]

    @property
    def probability(self) -> float:
        """The probability of `label`."""
        return max(self.probabilities)

    def top(self, n: int) -> tuple[tuple[str, float], ...]:
        """The `n` most probable labels (all, if there are fewer), each with its probability, the best first."""
        pairs = zip(self.labels, self.probabilities, strict=True)
        return tuple(sorted(pairs, key=lambda pair: -pair[1])[:n])


def macro(values: Iterable[float]) -> float:
    """The average as the challenge takes it: each class (or device) counts the same, however many clips it has."""
    rows = list(values)
    return sum(rows) / len(rows)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalFigures:
    """What a worker says at the end of a completed training: figures of the stored network on validation.

    `epochs` is how many were trained; `calibrated` whether a calibration that was asked for was applied.
    """

    log_loss: float
    accuracy: float
    epochs: int
    built: "Stored"
    calibrated: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a network stores: all parameters and their bytes, and those left when pruned zeros are not counted.

    `file_bytes` is the length of the model file that holds it (`asc.size.file_layout`).
    """

    parameters: int
    size_bytes: int
    nonzero_parameters: int
    nonzero_bytes: int
    file_bytes: int


OutcomeKind = Literal["completed", "stopped", "diverged", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A training that ended; `evaluation` is that of the stored network on the validation split.

    `stored` is counted on that network; the size law predicted the same. Where a calibration was asked for,
    `uncalibrated` is the evaluation before it.
    """

    evaluation: Evaluation
    epochs: int
    best_epoch: int
    stored: Stored
    seconds: float
    calibration: CalibrationReport | None = None
    uncalibrated: Evaluation | None = None

    @property
    def optimistic(self) -> bool:
        """Whether it was calibrated on test clips."""
        return self.calibration is not None and self.calibration.optimistic


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A training that `on_epoch` stopped after this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diverged:
    """A training whose loss was no longer a number in this epoch."""

    epoch: int


TrainingEnd = Completed | Stopped | Diverged
