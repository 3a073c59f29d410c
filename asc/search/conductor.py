"""Every decision of a search, made in one place and journalled before Ray acts on it.

Ray's searcher, scheduler and callback (`ray_adapters.py`) only pass on what they hear. A conductor made from the
journal of a search that was cut off goes on where that one ended: finished trials are told to a fresh study, the rungs
are filled, and unfinished trials are queued first (design decision 7).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asc.config import Experiment
from asc.journal import (
    EpochDone,
    Journal,
    PointRefused,
    RungReached,
    RunRecord,
    TrialAsked,
    TrialEnded,
    TrialRecord,
    add,
    fold,
)
from asc.results import EpochMetrics
from asc.search.repair import Budget, Candidate, repair
from asc.search.rungs import Rungs
from asc.search.sampler import Handle, Sampler, Told
from asc.search.settings import SearchSettings
from asc.space import Space
from asc.train import BEST, LAST
from asc.typed import Scalar

_MOST_REFUSALS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A trial for a worker: its config, and how many epochs of it the journal already holds."""

    trial: str
    experiment: Experiment
    size_bytes: int
    journalled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalFigures:
    """What a worker says at the end of a completed training: figures of the stored network on validation."""

    log_loss: float
    accuracy: float
    epochs: int
    built_bytes: int


class Conductor:
    """Asks, repairs, queues, compares and ends trials; the journal sees each event first."""

    def __init__(
        self, *, journal: Journal, space: Space, settings: SearchSettings, base: Experiment, budget: Budget
    ) -> None:
        """Take up the search where its journal stands; `base` is trial 0 before repair."""
        self.journal, self.record = journal, fold(journal.entries)
        journal.listeners.insert(0, lambda entry: add(self.record, entry))
        self._space, self._settings, self._base, self._budget = space, settings, base, budget
        self._sampler = Sampler(space, seed=settings.seed, trials=settings.trials)
        self._rungs = Rungs(
            epochs_per_cycle=base.schedule.epochs_per_cycle,
            epochs=base.schedule.epochs,
            reduction_factor=settings.reduction_factor,
        )
        self._handles: dict[str, Handle] = {}
        self._names: dict[str, str] = {}
        self._queue: list[str] = []
        self._exhausted = False
        self._replay(self.record)

    @property
    def running(self) -> tuple[str, ...]:
        """Names of the trials that workers have."""
        return tuple(self._names.values())

    @property
    def done(self) -> bool:
        """Whether no further trial will be given out."""
        return not self._queue and (self._exhausted or len(self.record.trials) >= self._settings.trials)

    def next_trial(self, worker: str) -> Assignment | None:
        """A trial for a worker: an unfinished one first, else a new point; None where `done`."""
        if self._queue:
            name = self._queue.pop(0)
        elif self.done:
            return None
        else:
            found = self._ask_reference() or self._ask_sampler()
            if found is None:
                self._exhausted = True
                return None
            name = found
        self._names[worker] = name
        asked = self.record.trials[name]
        return Assignment(
            trial=name,
            experiment=Experiment.from_flat(asked.asked.config),
            size_bytes=asked.asked.size_bytes,
            journalled=max(asked.epochs, default=0),
        )

    def epoch_done(self, worker: str, metrics: EpochMetrics) -> bool:
        """Journal an epoch; whether early stopping ends the trial here. An epoch heard before is passed over."""
        name = self._names[worker]
        trial = self.record.trials[name]
        if metrics.epoch in trial.epochs or trial.ended is not None:
            return trial.ended is not None
        checkpoint = self._folder(name) / LAST
        self.journal.append(
            EpochDone(trial=name, metrics=metrics, checkpoint=str(checkpoint.relative_to(self.journal.path.parent)))
        )
        return self._compare(name, metrics)

    def completed(self, worker: str, figures: FinalFigures) -> None:
        """Journal the end of a trial that was trained to its last epoch."""
        name = self._names[worker]
        model = (self._folder(name) / "model.safetensors").relative_to(self.journal.path.parent)
        self._end(
            name,
            TrialEnded(
                trial=name,
                outcome="completed",
                epochs=figures.epochs,
                seconds=self._seconds(name),
                log_loss=figures.log_loss,
                accuracy=figures.accuracy,
                built_bytes=figures.built_bytes,
                model=str(model),
            ),
        )

    def diverged(self, worker: str, epoch: int) -> None:
        """Journal the end of a trial whose loss was no longer a number."""
        name = self._names[worker]
        self._end(
            name,
            TrialEnded(
                trial=name,
                outcome="diverged",
                epochs=epoch,
                seconds=self._seconds(name),
                reason=f"the loss was no longer a number in epoch {epoch}",
            ),
        )

    def left(self, worker: str) -> None:
        """The worker is free; its trial, if it has not ended, stays unfinished in the journal."""
        self._names.pop(worker, None)

    def failed(self, worker: str, reason: str) -> None:
        """Journal the end of a trial whose worker failed for good."""
        name = self._names.pop(worker, None)
        if name is None or self.record.trials[name].ended is not None:
            return
        epochs = max(self.record.trials[name].epochs, default=0)
        self._end(
            name,
            TrialEnded(trial=name, outcome="failed", epochs=epochs, seconds=self._seconds(name), reason=reason),
        )

    def _compare(self, name: str, metrics: EpochMetrics) -> bool:
        if metrics.epoch not in self._rungs.recorded:
            return False
        worse = self._rungs.stops(name, metrics.epoch, metrics.valid_log_loss)
        # The reference always runs to its end: what a search gained is measured against it.
        stops = worse and not self.record.trials[name].asked.reference
        self.journal.append(
            RungReached(trial=name, epoch=metrics.epoch, log_loss=metrics.valid_log_loss, stopped=stops)
        )
        if stops:
            self._end(
                name,
                TrialEnded(
                    trial=name,
                    outcome="stopped",
                    epochs=metrics.epoch,
                    seconds=self._seconds(name),
                    reason=f"not among the best 1/{self._settings.reduction_factor} after epoch {metrics.epoch}",
                ),
            )
        return stops

    def _end(self, name: str, ended: TrialEnded) -> None:
        self.journal.append(ended)
        if name in self._handles:
            self._sampler.tell(self._handles.pop(name), _told(self.record.trials[name]))
        for checkpoint in (LAST, BEST):
            (self._folder(name) / checkpoint).unlink(missing_ok=True)

    def _ask_reference(self) -> str | None:
        """Trial 0, once; None afterwards, or where the reference fits at no width."""
        if self.record.trials or self.record.refused:
            return None
        candidate = repair(self._base, self._space, {}, self._budget)
        if candidate is None:
            self.journal.append(PointRefused(point={}, reason="the reference does not fit the budget at any width"))
            return None
        point = self._space.point_of(self._base)
        name = self._journal_asked(candidate, point, reference=True)
        if point is not None:
            self._handles[name] = self._sampler.begin(point)
        return name

    def _ask_sampler(self) -> str | None:
        for _ in range(_MOST_REFUSALS):
            handle, point = self._sampler.ask()
            candidate = repair(self._base, self._space, point, self._budget)
            twin = self._twin(candidate)
            if candidate is not None and twin is None:
                name = self._journal_asked(candidate, point)
                self._handles[name] = handle
                return name
            if twin is not None:
                reason, told = f"the same network and training as {twin.asked.trial}", _told(twin)
            else:
                reason, told = "it does not fit the budget at any width", Told(usable=False)
            self.journal.append(PointRefused(point=point, reason=reason, twin=twin.asked.trial if twin else None))
            self._sampler.tell(handle, told)
        return None

    def _twin(self, candidate: Candidate | None) -> TrialRecord | None:
        if candidate is None:
            return None
        config = candidate.experiment.flat()
        return next((trial for trial in self.record.trials.values() if trial.asked.config == config), None)

    def _journal_asked(
        self, candidate: Candidate, point: Mapping[str, Scalar] | None, *, reference: bool = False
    ) -> str:
        name = f"t{len(self.record.trials):03d}"
        architecture, size = candidate.experiment.architecture, candidate.cost
        widths = "-".join(str(width) for width in architecture.widths)
        kilobytes = size.size_bytes / self._budget.rule.unit_bytes
        self.journal.append(
            TrialAsked(
                trial=name,
                title=f"{name} w{widths} c{architecture.cardinality} {kilobytes:.1f} KB" + " reference" * reference,
                point=point,
                config=candidate.experiment.flat(),
                repaired=candidate.repaired,
                reference=reference,
                parameters=size.parameters,
                size_bytes=size.size_bytes,
                macs_per_second=size.macs_per_second,
                peak_activation_bytes=size.peak_activation_bytes,
            )
        )
        return name

    def _replay(self, record: RunRecord) -> None:
        """Bring sampler and rungs to where the journal ends, and queue the trials that it leaves open."""
        for refused in record.refused:
            if not refused.point:
                continue
            self._sampler.skip()
            twin = record.trials.get(refused.twin or "")
            self._sampler.replay(refused.point, _told(twin) if twin else Told(usable=False))
        for name, trial in record.trials.items():
            if not trial.asked.reference:
                self._sampler.skip()
            for rung in trial.rungs:
                self._rungs.record(name, rung.epoch, rung.log_loss)
            if trial.ended is None:
                self._queue.append(name)
                if trial.asked.point is not None:
                    self._handles[name] = self._sampler.begin(trial.asked.point)
            elif trial.asked.point is not None:
                self._sampler.replay(trial.asked.point, _told(trial))

    def _folder(self, name: str) -> Path:
        return trial_folder(self.journal.path.parent, name)

    def _seconds(self, name: str) -> float:
        return sum(metrics.seconds for metrics in self.record.trials[name].epochs.values())


def trial_folder(run_folder: Path, name: str) -> Path:
    """Where a trial keeps its checkpoints and its model."""
    return run_folder / "trials" / name


def _told(trial: TrialRecord) -> Told:
    """What the sampler hears of a trial: nothing usable of one that failed or is not over."""
    if trial.ended is None or trial.ended.outcome == "failed":
        return Told(usable=False)
    if trial.ended.outcome == "diverged":
        return Told()
    return Told(
        value=trial.ended.log_loss,
        log_losses={metrics.epoch: metrics.valid_log_loss for metrics in trial.epochs.values()},
    )
