"""What becomes of the trials of a search at rungs: which stop, pause and go on. Each decision is journalled here.

`asc.search.rungs` has the rules, and the conductor acts on the decisions. The reference is never stopped and never
pauses, because the gain of the search is measured against it.
"""

from collections.abc import Sequence
from typing import Literal

from asc.config.experiment import Schedule
from asc.runs.events import RungReached, TrialEnded, TrialPromoted
from asc.runs.journal import Entry, Journal
from asc.runs.record import RunRecord
from asc.search.objectives import costs_of
from asc.search.rungs import Rungs, rungs_of
from asc.search.settings import SearchSettings
from asc.size.rules import Rule
from asc.training_results import EpochMetrics


class Halving:
    """The rungs of a search, and the trials that reached them."""

    def __init__(
        self, journal: Journal, record: RunRecord, settings: SearchSettings, schedule: Schedule, rule: Rule
    ) -> None:
        """`record` is kept up to date with the journal; all trials have this schedule, and `rule` counts bytes."""
        self._journal, self._record, self._settings, self._rule = journal, record, settings, rule
        # Trials of different budgets are not compared: one that may be larger is nearly always better.
        others = None if settings.objectives is None else self._costs
        self._rungs = {
            kilobytes: rungs_of(schedule, settings.reduction_factor, others) for kilobytes in settings.budgets
        }

    @property
    def promotes(self) -> bool:
        """Whether trials pause at rungs, and the best are promoted. Otherwise the worse ones are stopped there."""
        return self._settings.asha == "promotion"

    def is_rung(self, trial: str, epoch: int) -> bool:
        """Whether a trial is compared after an epoch."""
        return epoch in self._rungs_of(trial).recorded

    def next_pause(self, name: str, epoch: int) -> int | None:
        """The next epoch after which a trial or a final pauses, if it goes on after an epoch; None if it does not."""
        return self._rungs_of(name).next_rung(epoch) if self._pauses(name) else None

    def compare(self, name: str, metrics: EpochMetrics) -> Literal["goes on", "stops", "pauses"]:
        """Say what a trial or a final does after an epoch. If the epoch is a rung of the trial, this is journalled."""
        if name not in self._record.trials or not self.is_rung(name, metrics.epoch):
            return "goes on"
        if self.promotes:
            return self._pause(name, metrics)
        worse = self._rungs_of(name).stops(name, metrics.epoch, metrics.valid_log_loss)
        stops = worse and not self._record.trials[name].asked.reference
        self._journal.append(
            RungReached(trial=name, epoch=metrics.epoch, log_loss=metrics.valid_log_loss, stopped=stops)
        )
        return "stops" if stops else "goes on"

    def promote(self, *, at_least: int = 0) -> str | None:
        """Journal the promotion of the best paused trial that may go on, if there is one, and return its name.

        `at_least` is as in `Rungs.promotable`.
        """
        if not self._record.paused:
            return None
        for rungs in self._rungs.values():
            name = rungs.promotable(self._record.paused, at_least=at_least)
            if name is not None:
                self._journal.append(TrialPromoted(trial=name, epoch=self._record.paused[name]))
                return name
        return None

    def end(self, ended: TrialEnded) -> None:
        """Give the places of a promoted trial that diverged or failed to the next best."""
        if self.promotes and ended.outcome in ("diverged", "failed") and ended.trial in self._record.trials:
            self._rungs_of(ended.trial).drop(ended.trial)

    def replay(self, entries: Sequence[Entry]) -> None:
        """Fill the rungs, in order, with what the entries of an earlier process say."""
        for entry in entries:
            match entry.event:
                case RungReached() as rung if rung.paused or not self.promotes:
                    self._rungs_of(rung.trial).record(rung.trial, rung.epoch, rung.log_loss)
                case TrialEnded() as ended:
                    self.end(ended)

    def _pause(self, name: str, metrics: EpochMetrics) -> Literal["goes on", "pauses"]:
        """Journal that a trial reached a rung, and whether it pauses there.

        The reference does not, and takes no place in the rung: it goes to its end whatever the others reach.
        """
        pauses = self._pauses(name)
        self._journal.append(
            RungReached(trial=name, epoch=metrics.epoch, log_loss=metrics.valid_log_loss, stopped=False, paused=pauses)
        )
        if not pauses:
            return "goes on"
        self._rungs_of(name).record(name, metrics.epoch, metrics.valid_log_loss)
        return "pauses"

    def _pauses(self, name: str) -> bool:
        return self.promotes and name in self._record.trials and not self._record.trials[name].asked.reference

    def _costs(self, name: str) -> tuple[float, ...]:
        """What trials are compared by beside their log loss."""
        return costs_of(self._record.trials[name].asked, self._settings.aims, self._rule)

    def _rungs_of(self, trial: str) -> Rungs:
        """The rungs of a trial: those of its budget."""
        return self._rungs[self._record.trials[trial].asked.budget_kb or self._settings.budget_kb]
