"""The events that the journal of a run holds, in the order in which they can happen."""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from asc.results import Interval, SplitFigures, StoredSize, TeacherNetwork
from asc.training_results import EpochMetrics, OutcomeKind
from asc.typed import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierPoint:
    """A point that a search tries first, because a trial of an earlier run was good there.

    A point of the space's portfolio has `portfolio` as its run, and its number there as its trial.
    """

    run: str
    trial: str
    point: Mapping[str, Scalar]

    @property
    def name(self) -> str:
        """The trial of the earlier run, as `night/t005`, or the point of the portfolio, as `portfolio/1`."""
        return f"{self.run}/{self.trial}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The first event of a run; `settings` are its options.

    `space` is the text of a search's space, `reference` the flat config of its trial 0 before repair. `data_digest` is
    the digest of the manifest, because a search can be resumed only on the same data. `earlier` are the points that
    come after the reference, in this order.
    """

    name: str
    kind: Literal["search", "train"]
    settings: Mapping[str, Scalar]
    git_commit: str | None = None
    space: str | None = None
    data_digest: str | None = None
    reference: Mapping[str, Scalar] | None = None
    earlier: tuple[EarlierPoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed:
    """The run is resumed in a new process; `settings` holds the options that were given on resume."""

    settings: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRefused:
    """A sampled point that became no trial: it cannot be repaired, or the trial `twin` has the same config.

    `budget_kb` is the budget that it was drawn for, in a search of several.
    """

    point: Mapping[str, Scalar]
    reason: str
    twin: str | None = None
    budget_kb: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialAsked:
    """A trial will run. `point` is what was drawn (None: not in the space), `config` the flat config after repair.

    Parameters and bytes are predicted; the `nonzero_` ones leave out the weights that will be pruned. `earlier` is the
    point that is tried again, as `night/t005` (`EarlierPoint.name`). `budget_kb` is the budget that the point was
    repaired to, in a search of several.
    """

    trial: str
    title: str
    point: Mapping[str, Scalar] | None
    config: Mapping[str, Scalar]
    repaired: bool
    reference: bool = False
    parameters: int
    size_bytes: int
    nonzero_parameters: int
    nonzero_bytes: int
    file_bytes: int
    macs_per_second: int
    peak_activation_bytes: int
    earlier: str | None = None
    budget_kb: float | None = None

    @property
    def predicted(self) -> StoredSize:
        """What the network stores, as predicted by the size law."""
        return StoredSize(
            parameters=self.parameters,
            size_bytes=self.size_bytes,
            nonzero_parameters=self.nonzero_parameters,
            nonzero_bytes=self.nonzero_bytes,
            file_bytes=self.file_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochDone:
    """A finished epoch of a trial; `checkpoint` is its path, relative to the run's folder."""

    trial: str
    metrics: EpochMetrics
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRetried:
    """A trial's worker or node died or failed after this epoch; another worker continues from the checkpoint."""

    trial: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RungReached:
    """Early stopping compared a trial at the end of a cycle, by the validation log loss.

    A `paused` trial keeps its checkpoint, and no worker trains it until it is promoted.
    """

    trial: str
    epoch: int
    log_loss: float
    stopped: bool
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPromoted:
    """A trial that was paused at the rung after this epoch is among its best: it goes on from its checkpoint."""

    trial: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """The end of a trial. A completed trial has the figures of the stored network on the validation split.

    `log_loss` is in nats, `accuracy` from 0 to 1; their 95 % intervals are None in journals of asc 0.1 and where none
    can be computed. `built` is counted on the trained network. `calibrated` says whether a calibration was applied
    (None: none was asked for), `optimistic` whether it was fitted on test clips.
    """

    trial: str
    outcome: OutcomeKind
    epochs: int
    seconds: float
    log_loss: float | None = None
    accuracy: float | None = None
    built: StoredSize | None = None
    calibrated: bool | None = None
    optimistic: bool = False
    model: str | None = None
    reason: str | None = None
    log_loss_interval: Interval | None = None
    accuracy_interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalistsChosen:
    """The best `trials` of a search, best first; each is retrained with each of the seeds, for this schedule.

    A search that is resumed with more trials may choose again; the last choice counts.
    """

    trials: tuple[str, ...]
    seeds: tuple[int, ...]
    cycles: int
    epochs_per_cycle: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherAsked:
    """A larger network will be trained to teach the finals: `trial`, widened beyond the budget, as `teacher`.

    Its epochs, retries and end are the events of a trial with the name `teacher`; the sizes are as in `TrialAsked`.
    """

    teacher: str
    trial: str
    title: str
    seed: int
    config: Mapping[str, Scalar]
    size: StoredSize
    macs_per_second: int
    peak_activation_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftLabelsMade:
    """The soft labels of `clips` training clips are in the run's folder; all finals that follow learn from them.

    `teachers` gave them, and `digest` is that of their logits (`asc.results.Taught`). `share_right` is the share of
    these clips whose label the teachers give together; None in journals of earlier versions.
    """

    teachers: tuple[TeacherNetwork, ...]
    digest: str
    clips: int
    share_right: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalAsked:
    """A finalist will be retrained: the network of `trial` with another seed and schedule, as a training named `final`.

    Its epochs, retries and end are the events of a trial with the name `final`. `soft_labels` is the digest of those
    that it learns from, None without a teacher.
    """

    final: str
    trial: str
    title: str
    seed: int
    config: Mapping[str, Scalar]
    soft_labels: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalConfirmed:
    """The figures of a retrained finalist's stored network on clips that the search has not seen."""

    final: str
    figures: SplitFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The run's process ended cleanly. Both outcomes can be resumed, a finished search with more trials.

    `best` is the trial whose model is in `best/`; with finalists, it is the final.
    """

    outcome: Literal["finished", "interrupted"]
    best: str | None


Event = (
    RunStarted
    | RunResumed
    | PointRefused
    | TrialAsked
    | EpochDone
    | TrialRetried
    | RungReached
    | TrialPromoted
    | TrialEnded
    | FinalistsChosen
    | TeacherAsked
    | SoftLabelsMade
    | FinalAsked
    | FinalConfirmed
    | RunEnded
)
EVENT_KINDS: Mapping[str, type[Event]] = types.MappingProxyType(
    {kind.__name__: kind for kind in typing.get_args(Event)}
)
