"""Every decision of a search, made in one place and journalled before Ray acts on it.

Ray's searcher, scheduler and callback (`ray_adapters.py`) only pass events on. A conductor that is given the journal of
an interrupted search continues it: finished trials are told to a fresh study, the rungs are refilled, and unfinished
trials are queued first (design decision 7). When all trials have ended, the finals follow, if any are asked for
(`asc.search.finishing`): trainings like trials, but never compared at rungs, and unknown to the sampler.
"""

from dataclasses import dataclass
from pathlib import Path

from asc.config.experiment import Experiment
from asc.config.space import Space
from asc.results import EpochMetrics, FinalFigures
from asc.run_files import LAST_EPOCH, MODEL_FILE, TRIALS_FOLDER
from asc.runs.events import EpochDone, FinalConfirmed, RungReached, TrialEnded, TrialPromoted, TrialRetried
from asc.runs.journal import Journal
from asc.runs.record import add, fold
from asc.search.finishing import Finishing
from asc.search.points import Points
from asc.search.repair import Budget
from asc.search.rungs import Rungs, rungs_of
from asc.search.settings import SearchSettings

ATTEMPTS = 3
# Even losses that were not the trial's fault count here: otherwise it could be handed out for ever.
_MOST_LOSSES = 20


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
        # Trials of different budgets are not compared: one that may be larger is nearly always better.
        self._rungs = {kilobytes: rungs_of(base.schedule, settings.reduction_factor) for kilobytes in settings.budgets}
        self._names: dict[str, str] = {}
        self._queue: list[str] = []
        self._losses: dict[str, list[tuple[int, bool]]] = {}
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
        if self._queue or not self._asked_all or (self._promotes and self.record.unfinished):
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
    def _promotes(self) -> bool:
        return self._settings.asha == "promotion"

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
            pauses_after=self._rungs_of(name).next_rung(journalled) if self._pauses(name) else None,
            final=name in self.record.finals,
            soft_labels=self.record.finals[name].soft_labels if name in self.record.finals else None,
        )

    def _ask(self) -> str | None:
        promoted = self._promote()
        if promoted is not None:
            return promoted
        if not self._asked_all:
            found = self._points.ask()
            if found is not None:
                return found
            self._exhausted = True
        return self._ask_last() or self._finishing.ask(self.running)

    def _pauses(self, name: str) -> bool:
        """Whether a trial pauses at rungs. The reference never does: the gain of the search is measured against it."""
        return self._promotes and name in self.record.trials and not self.record.trials[name].asked.reference

    def _promote(self, *, at_least: int = 0) -> str | None:
        """Journal the promotion of the best paused trial that may go on, if there is one, and return its name."""
        if not self.record.paused:
            return None
        for rungs in self._rungs.values():
            name = rungs.promotable(self.record.paused, at_least=at_least)
            if name is not None:
                self.journal.append(TrialPromoted(trial=name, epoch=self.record.paused[name]))
                return name
        return None

    def _ask_last(self) -> str | None:
        """When no trial runs and no new one comes: promote the best of each rung, then end all that still wait.

        So a trial gets to the end even if a rung has fewer trials than the reduction factor.
        """
        if self.running:
            return None
        promoted = self._promote(at_least=1)
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
            name,
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

        A trial fails when it was to blame `ATTEMPTS` times in a row without completing another epoch; `advice` is then
        appended to the reason. Attempts are counted in this process only: after a resume each trial has all of them
        again.
        """
        found = self.epochs_of(worker)
        if found is None:
            return False
        name, epoch = found
        losses = [*(one for one in self._losses.get(name, []) if one[0] == epoch), (epoch, blame)]
        self._losses[name] = losses
        if sum(blamed for _, blamed in losses) >= ATTEMPTS or len(losses) >= _MOST_LOSSES:
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
            name,
            TrialEnded(trial=name, outcome="failed", epochs=epochs, seconds=self._seconds(name), reason=reason),
        )

    def _compare(self, name: str, metrics: EpochMetrics) -> bool:
        """If the epoch is a rung, journal how the trial compares; return whether it is stopped or paused here."""
        if name not in self.record.trials or metrics.epoch not in self._rungs_of(name).recorded:
            return False
        if self._promotes:
            return self._pause(name, metrics)
        worse = self._rungs_of(name).stops(name, metrics.epoch, metrics.valid_log_loss)
        # The reference is never stopped, because the gain of the search is measured against it.
        stops = worse and not self.record.trials[name].asked.reference
        self.journal.append(
            RungReached(trial=name, epoch=metrics.epoch, log_loss=metrics.valid_log_loss, stopped=stops)
        )
        if stops:
            self._stop(name, metrics.epoch)
        return stops

    def _pause(self, name: str, metrics: EpochMetrics) -> bool:
        """Journal that a trial reached a rung; return whether it pauses there.

        The reference does not, and takes no place in the rung: it goes to its end whatever the others reach.
        """
        reached = RungReached(
            trial=name,
            epoch=metrics.epoch,
            log_loss=metrics.valid_log_loss,
            stopped=False,
            paused=self._pauses(name),
        )
        self.journal.append(reached)
        if reached.paused:
            self._rungs_of(name).record(name, metrics.epoch, metrics.valid_log_loss)
            self._points.pause(name, metrics.epoch)
        return reached.paused

    def _rungs_of(self, name: str) -> Rungs:
        """The rungs of a trial: those of its budget."""
        return self._rungs[self.record.trials[name].asked.budget_kb or self._settings.budget_kb]

    def _stop(self, name: str, epoch: int) -> None:
        reason = f"not among the best 1/{self._settings.reduction_factor} after epoch {epoch}"
        self._end(
            name,
            TrialEnded(trial=name, outcome="stopped", epochs=epoch, seconds=self._seconds(name), reason=reason),
        )

    def _end(self, name: str, ended: TrialEnded) -> None:
        self.journal.append(ended)
        self._leave_rungs(ended)
        self._points.end(name)
        self._sweep(name)

    def _leave_rungs(self, ended: TrialEnded) -> None:
        """Give the places of a promoted trial that diverged or failed to the next best."""
        if self._promotes and ended.outcome in ("diverged", "failed") and ended.trial in self.record.trials:
            self._rungs_of(ended.trial).drop(ended.trial)

    def _sweep(self, name: str) -> None:
        """Remove all files of an ended trial but its model: checkpoints, and partial files of killed workers."""
        for path in [*self._folder(name).glob("*.safetensors"), *self._folder(name).glob(".*.tmp")]:
            if path.name != MODEL_FILE:
                path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove the checkpoints of all ended trials, also those that a worker wrote after its trial was stopped."""
        for training in (*self.record.trials.values(), *self.record.after_trials()):
            if training.ended is not None:
                self._sweep(training.asked.trial)

    def _replay(self) -> None:
        """Replay the journal into the points and the rungs, in order, and queue its unfinished trials."""
        self._points.replay(self.journal.entries)
        for entry in self.journal.entries:
            match entry.event:
                case RungReached() as rung if rung.paused or not self._promotes:
                    self._rungs_of(rung.trial).record(rung.trial, rung.epoch, rung.log_loss)
                case TrialEnded() as ended:
                    self._leave_rungs(ended)
        self._queue = [name for name in list(self.record.unfinished) if not self._settle(name)]
        self.sweep()

    def _settle(self, name: str) -> bool:
        """Compare at a rung or carry out a stop that a killed process left undone.

        Return whether the trial has ended or is paused, so that no worker goes on with it.
        """
        trial = self.record.trials[name]
        compared = {rung.epoch: rung for rung in trial.rungs}
        for epoch, metrics in sorted(trial.epochs.items()):
            if epoch not in self._rungs_of(name).recorded:
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


def trial_folder(run_folder: Path, name: str) -> Path:
    """The folder of a trial's checkpoints and model."""
    return run_folder / TRIALS_FOLDER / name
