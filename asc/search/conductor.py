"""Every decision of a search, made in one place and journalled before Ray acts on it.

The parts of it: which points become trials (`points.py`), what trials do at rungs (`halving.py`), whether one that was
lost is tried again (`attempts.py`), and what follows when all have ended (`finishing.py`).

Ray's searcher, scheduler and callback (`ray_adapters.py`) only pass events on. A conductor that is given the journal of
an interrupted search continues it: finished trials are told to a fresh study, the rungs are refilled, and unfinished
trials are queued first (design decision 7). Finals are trainings like trials, but never compared at rungs, and unknown
to the sampler.
"""

from dataclasses import dataclass
from pathlib import Path

from asc.config.experiment import Experiment
from asc.config.space import Space
from asc.run_files import LAST_EPOCH, MODEL_FILE
from asc.runs.events import EpochDone, FinalConfirmed, TrialEnded, TrialRetried
from asc.runs.journal import Journal
from asc.runs.record import add, fold
from asc.search.attempts import Attempts
from asc.search.finishing import Finishing
from asc.search.halving import Halving
from asc.search.points import Points
from asc.search.repair import Budget
from asc.search.settings import SearchSettings
from asc.search.trial_files import remove_checkpoints, trial_folder
from asc.training_results import EpochMetrics, FinalFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A trial or a final for a worker: its config, and how many of its epochs are already in the journal.

    `pauses_after` is the epoch after which the trial pauses, so the worker's task ends there. The network of a final is
    also judged on the confirmation clips. `soft_labels` is the digest of those that it learns from.
    """

    trial: str
    experiment: Experiment
    journalled: int
    pauses_after: int | None = None
    final: bool = False
    soft_labels: str | None = None


class Conductor:
    """Asks for, repairs, queues, compares and ends trials; each event is written to the journal first."""

    def __init__(
        self, *, journal: Journal, space: Space, settings: SearchSettings, base: Experiment, budget: Budget
    ) -> None:
        """Start or continue the search from its journal; `base` is the config of trial 0 before repair."""
        self.journal, self.record = journal, fold(journal.entries)
        journal.listeners.insert(0, lambda entry: add(self.record, entry))
        self._settings = settings
        self._finishing = Finishing(journal, self.record, settings, budget.rule)
        self._points = Points(journal, self.record, space=space, settings=settings, base=base, budget=budget)
        self._halving = Halving(journal, self.record, settings, base.schedule, budget.rule)
        self._attempts = Attempts()
        self._names: dict[str, str] = {}
        self._queue: list[str] = []
        self._exhausted = False
        self.problem: str | None = None
        self._replay()

    @property
    def running(self) -> tuple[str, ...]:
        """Names of the trials and finals that workers are training."""
        return tuple(self._names.values())

    @property
    def done(self) -> bool:
        """Whether no further trial or final will be given out."""
        if self._queue or not self._asked_all or (self._halving.promotes and self.record.unfinished):
            return False
        return not self._finishing.follows(busy=self.running)

    @property
    def complete(self) -> bool:
        """Whether the search is done and every trial and final has ended."""
        ended = self.done and not self.record.unfinished and not self._finishing.follows(busy=())
        return ended and not self.needs_soft_labels

    @property
    def needs_soft_labels(self) -> bool:
        """Whether the finals wait for the soft labels of their teachers, which are no training."""
        return self._asked_all and self._finishing.needs_soft_labels

    @property
    def _asked_all(self) -> bool:
        return self._exhausted or len(self.record.trials) >= self._settings.trials

    def next_trial(self, worker: str) -> Assignment | None:
        """A trial for a worker: an unfinished one first, then one that is promoted, then a new point, then a final.

        None if the search is done or halted, or if what follows depends on trials that still run.
        """
        if self.problem is not None:
            return None
        name = self._queue.pop(0) if self._queue else self._ask()
        if name is None:
            return None
        self._names[worker] = name
        training = self.record.training(name)
        journalled = max(training.epochs, default=0)
        return Assignment(
            trial=name,
            experiment=Experiment.from_flat(training.asked.config),
            journalled=journalled,
            pauses_after=self._halving.next_pause(name, journalled),
            final=name in self.record.finals,
            soft_labels=self.record.finals[name].soft_labels if name in self.record.finals else None,
        )

    def _ask(self) -> str | None:
        promoted = self._halving.promote()
        if promoted is not None:
            return promoted
        if not self._asked_all:
            found = self._points.ask()
            if found is not None:
                return found
            self._exhausted = True
        return self._ask_last() or self._finishing.ask(self.running)

    def _ask_last(self) -> str | None:
        """When no trial runs and no new one comes: promote the best of each rung, then end all that still wait.

        So a trial gets to the end even if a rung has fewer trials than the reduction factor; of a search for a Pareto
        front, as many as there are objectives.
        """
        if self.running:
            return None
        promoted = self._halving.promote(at_least=len(self._settings.aims))
        if promoted is None:
            for name, epoch in list(self.record.paused.items()):
                self._stop(name, epoch)
        return promoted

    def epoch_done(self, worker: str, metrics: EpochMetrics) -> bool:
        """Journal an epoch and return whether the worker's task ends here, because its trial is stopped or paused.

        An epoch that is in the journal already is skipped.
        """
        name = self._names.get(worker)
        if name is None:  # the trial was paused, and another worker may have it
            return True
        trial = self.record.training(name)
        if metrics.epoch in trial.epochs or trial.ended is not None:
            return trial.ended is not None
        checkpoint = self._folder(name) / LAST_EPOCH
        self.journal.append(
            EpochDone(trial=name, metrics=metrics, checkpoint=str(checkpoint.relative_to(self.journal.path.parent)))
        )
        ends = self._compare(name, metrics)
        if trial.paused_at is not None:
            self.left(worker)
        return ends

    def completed(self, worker: str, figures: FinalFigures) -> None:
        """Journal the end of a trial or a final that was trained to its last epoch."""
        name = self._names[worker]
        retrained = self.record.finals.get(name)
        if retrained is not None and retrained.confirmed is None:  # else a killed process has journalled it
            assert figures.confirmation is not None, "the network of a final is judged on the confirmation clips"
            self.journal.append(FinalConfirmed(final=name, figures=figures.confirmation))
        model = (self._folder(name) / MODEL_FILE).relative_to(self.journal.path.parent)
        self._end(
            TrialEnded(
                trial=name,
                outcome="completed",
                epochs=figures.epochs,
                seconds=self._seconds(name),
                log_loss=figures.log_loss,
                accuracy=figures.accuracy,
                built=figures.built,
                calibrated=figures.calibrated,
                model=str(model),
                log_loss_interval=figures.log_loss_interval,
                accuracy_interval=figures.accuracy_interval,
            ),
        )

    def diverged(self, worker: str, epoch: int) -> None:
        """Journal the end of a trial whose loss became NaN or infinite."""
        name = self._names[worker]
        self._end(
            TrialEnded(
                trial=name,
                outcome="diverged",
                epochs=epoch,
                seconds=self._seconds(name),
                reason=f"the loss was no longer a number in epoch {epoch}",
            ),
        )

    def left(self, worker: str) -> None:
        """Free the worker. Its trial, if it has not ended, stays unfinished in the journal."""
        self._names.pop(worker, None)

    def epochs_of(self, worker: str) -> tuple[str, int] | None:
        """A worker's trial and that trial's last epoch in the journal; None if the worker has no unfinished trial."""
        name = self._names.get(worker)
        if name is None or self.record.training(name).ended is not None:
            return None
        return name, max(self.record.training(name).epochs, default=0)

    def lost(self, worker: str, reason: str, *, blame: bool = True, advice: str = "") -> bool:
        """Journal that a worker lost its trial and queue the trial next, or fail it; return whether it failed.

        A trial fails when it has no attempt left (`Attempts`); `advice` is then appended to the reason.
        """
        found = self.epochs_of(worker)
        if found is None:
            return False
        name, epoch = found
        if self._attempts.used_up(name, epoch, blame=blame):
            self.failed(worker, reason + advice)
            return True
        self.journal.append(TrialRetried(trial=name, epoch=epoch, reason=reason))
        self._queue.insert(0, self._names.pop(worker))
        return False

    def halt(self, problem: str) -> None:
        """End the whole search because every trial would meet this problem; running trials stay unfinished."""
        self.problem = self.problem or problem

    def failed(self, worker: str, reason: str) -> None:
        """Journal that a worker's trial failed and is not tried again."""
        name = self._names.pop(worker, None)
        if name is None or self.record.training(name).ended is not None:
            return
        epochs = max(self.record.training(name).epochs, default=0)
        self._end(
            TrialEnded(trial=name, outcome="failed", epochs=epochs, seconds=self._seconds(name), reason=reason),
        )

    def _compare(self, name: str, metrics: EpochMetrics) -> bool:
        """Compare a trial if the epoch is a rung; return whether it is stopped or paused here."""
        match self._halving.compare(name, metrics):
            case "goes on":
                return False
            case "stops":
                self._stop(name, metrics.epoch)
            case "pauses":
                self._points.pause(name, metrics.epoch)
        return True

    def _stop(self, name: str, epoch: int) -> None:
        reason = f"not among the best 1/{self._settings.reduction_factor} after epoch {epoch}"
        self._end(
            TrialEnded(trial=name, outcome="stopped", epochs=epoch, seconds=self._seconds(name), reason=reason),
        )

    def _end(self, ended: TrialEnded) -> None:
        self.journal.append(ended)
        self._halving.end(ended)
        self._points.end(ended.trial)
        remove_checkpoints(self._folder(ended.trial))

    def sweep(self) -> None:
        """Remove the checkpoints of all ended trials, also those that a worker wrote after its trial was stopped."""
        for training in (*self.record.trials.values(), *self.record.after_trials()):
            if training.ended is not None:
                remove_checkpoints(self._folder(training.asked.trial))

    def _replay(self) -> None:
        """Replay the journal into the points and the rungs, in order, and queue its unfinished trials."""
        self._points.replay(self.journal.entries)
        self._halving.replay(self.journal.entries)
        self._queue = [name for name in list(self.record.unfinished) if not self._settle(name)]
        self.sweep()

    def _settle(self, name: str) -> bool:
        """Compare at a rung or carry out a stop that a killed process left undone.

        Return whether the trial has ended or is paused, so that no worker goes on with it.
        """
        trial = self.record.trials[name]
        compared = {rung.epoch: rung for rung in trial.rungs}
        for epoch, metrics in sorted(trial.epochs.items()):
            if not self._halving.is_rung(name, epoch):
                continue
            if epoch not in compared:
                self._compare(name, metrics)
            elif compared[epoch].stopped and trial.ended is None:
                self._stop(name, epoch)
        return trial.ended is not None or trial.paused_at is not None

    def _folder(self, name: str) -> Path:
        return trial_folder(self.journal.path.parent, name)

    def _seconds(self, name: str) -> float:
        return sum(metrics.seconds for metrics in self.record.training(name).epochs.values())
