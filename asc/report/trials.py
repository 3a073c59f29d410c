"""What the report page shows of a search: its trials by rank, and the best value reached (read by `from_journal.py`).

The order is that of the leaderboard: completed trials as the search ranks them, then the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from asc.config.experiment import Experiment
from asc.config.space import Space
from asc.results import Interval, RankBy
from asc.runs.record import RunRecord
from asc.size.rules import Rule
from asc.training_results import OutcomeKind
from asc.typed import Scalar

Outcome = OutcomeKind | str  # or "paused", "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial, or one final. `rank` is None unless it is a completed trial.

    Log loss and accuracy are those of the stored network if it completed, else those of its last epoch.
    `kilobytes` are those that the search's rule counts, in the rule's own unit; `ram_kb` is the peak activation memory
    for 10 s, in KB of 1,024 bytes. `values` are the searched parameters, as they were trained (after repair).
    `curve` has the validation log loss (nats) after each epoch, by epoch. `earlier` is the trial of an earlier run that
    was tried again.
    """

    name: str
    rank: int | None
    outcome: Outcome
    reference: bool
    repaired: bool
    earlier: str | None
    log_loss: float | None
    accuracy: float | None
    log_loss_interval: Interval | None
    accuracy_interval: Interval | None
    counted_bytes: int
    kilobytes: float
    file_bytes: int
    mmacs_per_s: float
    ram_kb: float
    epochs: int
    seconds: float
    reason: str | None
    model: str | None
    values: Mapping[str, Scalar]
    curve: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The best log loss (nats) of the stored networks after `epochs` epochs of all trials together."""

    epochs: int
    log_loss: float
    trial: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search as its journal stands. `space` is None if the journal has none that this asc can read.

    `classes` is None before the first trial. `limit_kb` is the budget in the rule's unit (`smaller_kb` are those below
    it, of a search of several), `most_mmacs_per_s` the limit on MACs, if there is one. `epochs` and `reached` count
    trials only. `finals` are the retrainings of the finalists, `shipped` the one of them that is saved (None before all
    have ended, and without finals).
    """

    record: RunRecord
    space: Space | None
    rule: Rule
    limit_kb: float
    smaller_kb: tuple[float, ...]
    most_mmacs_per_s: float | None
    trials: tuple[Trial, ...]
    teachers: tuple[Trial, ...]
    finals: tuple[Trial, ...]
    shipped: Trial | None
    reached: tuple[Reached, ...]
    epochs: int
    last_time_s: float

    @property
    def name(self) -> str:
        """The name that the run was started with."""
        return self.record.started.name

    @property
    def settings(self) -> Mapping[str, Scalar]:
        """The options of the search; those of a resume replace earlier ones."""
        layers = [self.record.started.settings, *(resumed.settings for resumed in self.record.resumed)]
        return {key: value for layer in layers for key, value in layer.items()}

    @property
    def rank_by(self) -> RankBy:
        """The figure that trials are ranked by."""
        return self.record.rank_by

    @property
    def changed(self) -> tuple[str, ...]:
        """The options that a resume gave another value; where MLflow is does not count."""
        now, found = dict(self.record.started.settings), dict[str, None]()
        for resumed in self.record.resumed:
            found |= dict.fromkeys(
                key for key, value in resumed.settings.items() if key != "mlflow_uri" and now.get(key) != value
            )
            now |= resumed.settings
        return tuple(found)

    @property
    def state(self) -> str:
        """Finished, interrupted, or unfinished (it runs, or its process died)."""
        return self.record.ended.outcome if self.record.ended else "unfinished"

    @property
    def completed(self) -> tuple[Trial, ...]:
        """The completed trials, best first."""
        return tuple(trial for trial in self.trials if trial.rank is not None)

    @property
    def best(self) -> Trial | None:
        """The best completed trial, by `rank_by`."""
        return next(iter(self.completed), None)

    @property
    def saved(self) -> Trial | None:
        """The network that is saved in `best/` when the search ends: the shipped final, else the best trial."""
        return self.best if self.shipped is None else self.shipped

    @property
    def reference(self) -> Trial | None:
        """Trial 0, completed or not; each smaller budget has a reference of its own after it."""
        return min((trial for trial in self.trials if trial.reference), key=lambda one: one.name, default=None)

    @property
    def classes(self) -> int | None:
        """The number of classes; None before the first trial."""
        found = self._config.get("architecture.classes")
        return int(found) if found is not None else None

    @property
    def cycle_ends(self) -> tuple[int, ...]:
        """The epochs at which learning rate cycles end."""
        return Experiment.from_flat(self._config).schedule.cycle_ends if self._config else ()

    @property
    def rungs(self) -> tuple[int, ...]:
        """The epochs after which early stopping has compared trials."""
        return tuple(sorted({rung.epoch for trial in self.record.trials.values() for rung in trial.rungs}))

    @property
    def _config(self) -> Mapping[str, Scalar]:
        first = next(iter(self.record.trials.values()), None)
        return first.asked.config if first else self.record.started.reference or {}
