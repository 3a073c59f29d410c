"""What the report page shows of a search, taken from its journal: its trials by rank, and the best value reached.

The order is that of the leaderboard: completed trials as the search ranks them, then the others.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from asc.config.experiment import Experiment
from asc.config.space import FAMILY, Space
from asc.config.space_file import parse_space
from asc.errors import InputError
from asc.launchers import command
from asc.results import Interval, OutcomeKind, RankBy
from asc.runs.events import EpochDone, TrialEnded
from asc.runs.finals import finals_of
from asc.runs.journal import Entry
from asc.runs.record import Final, RunRecord, TrialRecord, fold
from asc.size.rules import Rule, counted_bytes, limit_bytes, rule
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
    it, of a search of several), `most_mmacs_per_s` the limit
    on MACs, if there is one. `epochs` and `reached` count trials only. `finals` are the retrainings of the finalists,
    `shipped` the one of them that is saved (None before all have ended, and without finals).
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


def search_of(entries: Sequence[Entry]) -> Search:
    """Read a search from the entries of its journal.

    Raises:
        InputError: the journal is empty or contradicts itself, or the run is a training.
    """
    record = fold(entries)
    started = record.started
    if started.kind != "search":
        raise InputError(
            f"{started.name} is a training, not a search: look at it with {command('evaluate')} and in MLflow"
        )
    by = rule(str(started.settings.get("rule", "dcase2021")))
    space = _space(started.space, started.name)
    budget_kb = float(started.settings.get("budget_kb", 128.0))
    finals = {name: _final(record, final, space, by) for name, final in record.finals.items()}
    return Search(
        record=record,
        space=space,
        rule=by,
        limit_kb=limit_bytes(by, budget_kb) / by.unit_bytes,
        smaller_kb=tuple(limit_bytes(by, one) / by.unit_bytes for one in _smaller(started.settings, budget_kb)),
        most_mmacs_per_s=_most_mmacs(by, started.settings.get("max_mmacs_per_s")),
        trials=tuple(_trial(rank, trial, space, by) for rank, trial in record.ranked()),
        finals=tuple(finals.values()),
        teachers=tuple(_trial(None, teacher, space, by) for teacher in record.teachers.values()),
        shipped=_shipped(record, finals),
        reached=tuple(_reached(record, entries)),
        epochs=sum(isinstance(entry.event, EpochDone) and entry.event.trial in record.trials for entry in entries),
        last_time_s=entries[-1].time_s,
    )


def _space(text: str | None, name: str) -> Space | None:
    """The searched space; None if a journal has none, or one of an asc that knew other keys."""
    title, _, toml = (text or "").partition("\n")
    try:
        return parse_space(toml, source=f"the journal of {name}", name=title)
    except InputError:
        return None


def _smaller(settings: Mapping[str, Scalar], largest_kb: float) -> list[float]:
    """The budgets below the largest one, in KB."""
    every = str(settings.get("budgets_kb", largest_kb)).split(",")
    return [budget_kb for budget_kb in map(float, every) if budget_kb < largest_kb]


def _most_mmacs(by: Rule, given: Scalar | None) -> float | None:
    limits = [None if given is None else float(given)]
    limits.append(None if by.macs_per_second_limit is None else by.macs_per_second_limit / 1e6)
    return min((limit for limit in limits if limit is not None), default=None)


def _trial(rank: int | None, trial: TrialRecord, space: Space | None, by: Rule) -> Trial:
    asked, ended = trial.asked, trial.ended
    last = trial.epochs[max(trial.epochs)] if trial.epochs else None
    counted = counted_bytes(by, asked.predicted)
    stored = ended if ended is not None and ended.outcome == "completed" else None
    return Trial(
        name=asked.trial,
        rank=rank,
        outcome=trial.state,
        reference=asked.reference,
        repaired=asked.repaired,
        earlier=asked.earlier,
        log_loss=stored.log_loss if stored else (last.valid_log_loss if last else None),
        accuracy=stored.accuracy if stored else (last.valid_accuracy if last else None),
        log_loss_interval=stored.log_loss_interval if stored else None,
        accuracy_interval=stored.accuracy_interval if stored else None,
        counted_bytes=counted,
        kilobytes=counted / by.unit_bytes,
        file_bytes=asked.file_bytes,
        mmacs_per_s=asked.macs_per_second / 1e6,
        ram_kb=asked.peak_activation_bytes / 1024,
        epochs=last.epoch if last else 0,
        seconds=ended.seconds if ended else sum(metrics.seconds for metrics in trial.epochs.values()),
        reason=ended.reason if ended else None,
        model=ended.model if ended else None,
        values=_values(asked.config, asked.point, space),
        curve={epoch: metrics.valid_log_loss for epoch, metrics in sorted(trial.epochs.items())},
    )


def _final(record: RunRecord, final: Final, space: Space | None, by: Rule) -> Trial:
    """A final; its searched parameters are those of its trial."""
    point = record.training(final.trial).asked.point
    return _trial(None, replace(final.training, asked=replace(final.training.asked, point=point)), space, by)


def _shipped(record: RunRecord, finals: Mapping[str, Trial]) -> Trial | None:
    found = finals_of(record)
    return None if found is None or found.shipped is None else finals[found.shipped.training.asked.trial]


def _values(config: Mapping[str, Scalar], point: Mapping[str, Scalar] | None, space: Space | None) -> dict[str, Scalar]:
    """The searched parameters of a trial: as trained if its config has them, else as drawn; lists as JSON text."""
    keys = list(space.sampled) if space else list(point or {})
    if space and space.families and point is not None:
        keys = [key for key in keys if key in point or key == FAMILY]
    found: dict[str, Scalar] = {}
    for key in keys:
        if key in config:
            found[key] = config[key]
        elif items := [config[f"{key}.{n}"] for n in range(_length(config, key))]:
            found[key] = json.dumps(items)
        elif point is not None and key in point:
            found[key] = point[key]
    return found


def _length(config: Mapping[str, Scalar], key: str) -> int:
    """The number of items of a list in a flat config; 0 if the key is not a list."""
    length = 0
    while f"{key}.{length}" in config:
        length += 1
    return length


def _reached(record: RunRecord, entries: Sequence[Entry]) -> Iterator[Reached]:
    """Each new best log loss of a trial, with the epochs that all trials had trained by then."""
    epochs, best = 0, float("inf")
    for entry in entries:
        match entry.event:
            case EpochDone(trial=name) if name in record.trials:
                epochs += 1
            case TrialEnded(outcome="completed", log_loss=float(log_loss), trial=name) if name in record.trials:
                if log_loss < best:
                    best = log_loss
                    yield Reached(epochs=epochs, log_loss=log_loss, trial=name)
