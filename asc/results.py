"""The figures of a network: evaluation, calibration, size and predictions. Frozen, without torch.

Log losses are in nats, accuracies from 0 to 1. What a training says of itself is in `asc.training_results`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# Every set has the four `SPLITS`. With part "confirmed", "confirmation" is set aside from the calibration split.
Split = Literal["train", "valid", "calibration", "test", "confirmation"]
SPLITS: tuple[Split, ...] = ("train", "valid", "calibration", "test")


RankBy = Literal["log_loss", "accuracy"]
"""The validation figure by which a search ranks its trials."""


def words(by: RankBy) -> str:
    """The name of that figure in a sentence."""
    return by.replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherNetwork:
    """A network that taught others; `kilobytes` is its size under the rule of its search, None if not known."""

    name: str
    kilobytes: float | None = None

    def __str__(self) -> str:
        """As `t003 (61.2 KB)`."""
        return self.name if self.kilobytes is None else f"{self.name} ({self.kilobytes:.1f} KB)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """Who taught a network: the digest of the soft labels that it learned from, and the teachers that gave these."""

    digest: str
    teachers: tuple[TeacherNetwork, ...]


ENOUGH_RIGHT = 0.9
"""Of the training clips, the share whose label teachers should give (docs/benchmarks.md: with 0.79 they did harm)."""


def wrong_teachers(share_right: float) -> str | None:
    """A sentence about teachers that give the right label of this share of the training clips only; None if enough."""
    if share_right >= ENOUGH_RIGHT:
        return None
    return (
        f"The teachers give the right label of {share_right:.0%} of the training clips only, and what learns from them "
        "learns their mistakes: train them longer (--teacher-kb N with more --final-epochs), or give better ones "
        "(--teacher-logits)."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigures:
    """Log loss and accuracy of one class, or of the clips of some devices; those of devices are macro over classes.

    `calibration_error` is the expected calibration error, or None if it is not computed. It means nothing for a single
    class, and a single device has few clips for it.
    """

    name: str
    clips: int
    log_loss: float
    accuracy: float
    calibration_error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The ends of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """95 % bootstrap intervals over locations (`asc.evaluation.bootstrap`).

    The `groups` locations were resampled `resamples` times. `lone_classes` is the number of classes with a single
    location: the variation of such a class is unknown, so the intervals leave it out and are too narrow.
    """

    groups: int
    lone_classes: int
    resamples: int
    log_loss: Interval
    accuracy: Interval
    calibration_error: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The figures of a network on one split. `log_loss` and `accuracy` are macro: the mean of the per-class means.

    `calibration_error` is the expected calibration error over clips (`asc.evaluation.metrics`). `per_exposure` has the
    rows "seen" and "unseen", by whether a clip's device occurs in the training split; it is empty if the split does not
    have both. `intervals` is None if it was not asked for, as in training epochs, or cannot be computed.
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
    """Clips whose highest probability is in (low, high].

    `confidence` is the mean of that probability, `accuracy` the share of correct clips; both are None without clips.
    """

    low: float
    high: float
    clips: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """A full evaluation of a network on one split.

    `confusion[i][j]` is the number of clips of class i that were classified as class j.
    """

    evaluation: Evaluation
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A model's prediction for one recording: the probability of each label, in the order of the model's labels.

    `note` is a reason to doubt the prediction, such as silence; usually None.
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
        """The `n` most probable labels (or all, if there are fewer) with their probabilities, most probable first."""
        pairs = zip(self.labels, self.probabilities, strict=True)
        return tuple(sorted(pairs, key=lambda pair: -pair[1])[:n])


def macro(values: Iterable[float]) -> float:
    """The challenge's average: the mean of per-class (or per-device) values, whatever their numbers of clips."""
    rows = list(values)
    return sum(rows) / len(rows)


CalibrationMethod = Literal["none", "temperature", "multinomial", "one_vs_rest"]
Centre = Literal["identity", "temperature"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """The result of calibrating a network on the clips of one split.

    The three log losses (micro, in nats) come from nested cross-validation over the groups of that split: without
    calibration, with a single temperature, and with `method`. `gain_standard_error` is the standard error, over groups,
    of the difference between the first and the last.

    The other figures are fitted to all clips. Regularisation of the given `strength` shrinks the factors towards the
    identity, or towards the identity over `temperature`; a strength of None is infinite, so that the factors equal this
    centre. `applied` is False if the gain was not larger than its standard error; the network was then left unchanged.
    If the strength was given instead of chosen, `applied` is always True.
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
        """Whether the network was calibrated on test clips, so that its figures on the test fold are too good."""
        return self.split == "test" and self.applied


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFigures:
    """The macro log loss (nats) and accuracy (0 to 1) of a stored network on one split of `clips` clips."""

    split: Split
    clips: int
    log_loss: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSize:
    """What a network stores: parameters and bytes, with pruned zeros and without them (`nonzero_...`).

    `file_bytes` is the length of the model file that holds it (`asc.size.file_layout`).
    """

    parameters: int
    size_bytes: int
    nonzero_parameters: int
    nonzero_bytes: int
    file_bytes: int
