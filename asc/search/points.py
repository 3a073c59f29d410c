"""Which points become trials: the reference, those that were good before, then what the sampler draws.

Each is repaired. Those that were good before are of earlier runs or of the space's portfolio (`warm_start.py`).

With several budgets the trials take turns, and each budget has a reference of its own.

A point is journalled as a trial, or as refused with a reason, before anything else happens. The results of trials are
told to the sampler. A new process replays the journal, and so asks what the earlier one would have asked.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from asc.config.experiment import Experiment
from asc.config.space import Space
from asc.runs.events import PointRefused, RungReached, TrialAsked, TrialEnded
from asc.runs.journal import Entry, Journal
from asc.runs.record import RunRecord, TrialRecord
from asc.search.budgets import BudgetSamplers, budgets_of
from asc.search.objectives import costs_of
from asc.search.repair import Budget, Candidate, infeasible, repair
from asc.search.sampler import Handle, Told
from asc.search.settings import MOST_REFUSALS, SearchSettings
from asc.size.rules import counted_bytes
from asc.topology.describe import short_name
from asc.typed import Scalar


class Points:
    """The points of one search and the samplers that draw them."""

    def __init__(
        self,
        journal: Journal,
        record: RunRecord,
        *,
        space: Space,
        settings: SearchSettings,
        base: Experiment,
        budget: Budget,
    ) -> None:
        """`record` is kept up to date with the journal; `base` is the config of trial 0 before repair."""
        self._journal, self._record = journal, record
        self._space, self._base, self._budgets = space, base, budgets_of(settings, budget)
        self._aims = settings.aims
        self._samplers = BudgetSamplers(space, settings, self._budgets)
        self._configs: dict[int, str] = {}

    def ask(self) -> str | None:
        """Journal the next trial and return its name; None if the space has no further network."""
        return self._ask_reference() or self._ask_earlier() or self._ask_sampler()

    def end(self, name: str) -> None:
        """Tell the sampler how a trial ended."""
        if name in self._record.trials:
            self._samplers.tell(name, self._told(self._record.trials[name]))

    def pause(self, name: str, epoch: int) -> None:
        """Tell the sampler how a trial did that is paused after an epoch; a later result replaces this one."""
        trial = self._record.trials[name]
        log_losses = {number: metrics.valid_log_loss for number, metrics in trial.epochs.items() if number <= epoch}
        self._samplers.tell(name, Told(log_losses=log_losses, others=self._costs(trial)), final=False)

    def replay(self, entries: Sequence[Entry]) -> None:
        """Tell the sampler, in order, what the entries of an earlier process say."""
        ended: set[str] = set()
        for entry in entries:
            match entry.event:
                case TrialAsked() as event:
                    self._replay_asked(event)
                case PointRefused() as event if event.point:
                    budget = self._number(event.budget_kb)
                    twin = self._record.trials[event.twin] if event.twin in ended and event.twin else None
                    handle = self._samplers.drawn(budget, event.point)
                    self._samplers.refused(budget, handle, self._told(twin) if twin else Told(usable=False))
                case RungReached(paused=True) as event:
                    self.pause(event.trial, event.epoch)
                case TrialEnded() as event if event.trial in self._record.trials:
                    ended.add(event.trial)
                    self.end(event.trial)

    def _replay_asked(self, asked: TrialAsked) -> None:
        self._configs[_hash(asked.config)] = asked.trial
        budget, handle = self._number(asked.budget_kb), None
        if asked.point is not None:
            given = asked.reference or asked.earlier is not None
            handle = (self._samplers.given if given else self._samplers.drawn)(budget, asked.point)
        self._samplers.entered(asked, budget, handle)

    def _number(self, budget_kb: float | None) -> int:
        """The number of the budget that an event names; of a search with one budget, events name none."""
        return 0 if budget_kb is None else [budget.kilobytes for budget in self._budgets].index(budget_kb)

    def _turn(self) -> int:
        """The number of the budget whose turn it is; references do not count."""
        return sum(not trial.asked.reference for trial in self._record.trials.values()) % len(self._budgets)

    def _ask_reference(self) -> str | None:
        """The next reference: one for each budget, the largest first. None if there is none, or none fits."""
        known = sum(trial.asked.reference for trial in self._record.trials.values())
        known += sum(not refused.point for refused in self._record.refused)
        for number in range(known, len(self._budgets)):
            candidate = repair(self._base, self._space, {}, self._budgets[number])
            twin = self._twin(candidate)
            if candidate is not None and twin is None:
                point = self._space.point_of(self._base)
                handle = None if point is None else self._samplers.given(number, point)
                return self._journal_asked(candidate, point, number, handle, reference=True)
            reason = "the reference does not fit the budget at any width"
            if twin is not None:
                reason = f"the reference is the same network as {twin.asked.trial}"
            self._refuse({}, reason, twin, number)
        return None

    def _ask_earlier(self) -> str | None:
        """The next point of an earlier run or of the portfolio that is no trial yet; None if there is none."""
        known, number = {trial.asked.earlier for trial in self._record.trials.values()}, self._turn()
        for earlier in self._record.started.earlier:
            if earlier.name in known:
                continue
            candidate = repair(self._base, self._space, earlier.point, self._budgets[number])
            if candidate is not None and self._twin(candidate) is None:
                handle = self._samplers.given(number, earlier.point)
                return self._journal_asked(candidate, earlier.point, number, handle, earlier=earlier.name)
        return None

    def _ask_sampler(self) -> str | None:
        number = self._turn()
        for _ in range(MOST_REFUSALS):
            handle, point = self._samplers.ask(number)
            candidate = repair(self._base, self._space, point, self._budgets[number])
            twin = self._twin(candidate)
            if candidate is not None and twin is None:
                return self._journal_asked(candidate, point, number, handle)
            if twin is not None:
                reason, told = f"the same network and training as {twin.asked.trial}", self._told(twin)
            else:
                why = infeasible(self._base, self._space, point)
                reason, told = why or "it does not fit the budget at any width", Told(usable=False)
            self._refuse(point, reason, twin, number)
            self._samplers.refused(number, handle, told)
        return None

    def _refuse(self, point: Mapping[str, Scalar], reason: str, twin: TrialRecord | None, number: int) -> None:
        self._journal.append(
            PointRefused(
                point=point,
                reason=reason,
                twin=twin.asked.trial if twin else None,
                budget_kb=self._kilobytes(number),
            )
        )

    def _kilobytes(self, number: int) -> float | None:
        """The budget to journal; None if the search has only one."""
        return self._budgets[number].kilobytes if len(self._budgets) > 1 else None

    def _twin(self, candidate: Candidate | None) -> TrialRecord | None:
        """The trial with the same config as a candidate, unless that trial failed."""
        if candidate is None:
            return None
        config = candidate.experiment.flat()
        name = self._configs.get(_hash(config))
        trial = self._record.trials[name] if name is not None else None
        if trial is None or trial.asked.config != config or (trial.ended and trial.ended.outcome == "failed"):
            return None
        return trial

    def _journal_asked(
        self,
        candidate: Candidate,
        point: Mapping[str, Scalar] | None,
        number: int,
        handle: Handle | None,
        *,
        reference: bool = False,
        earlier: str | None = None,
    ) -> str:
        """Journal a trial of the budget with this number, and enter it with the samplers; return its name."""
        name = f"t{len(self._record.trials):03d}"
        size, config = candidate.cost, candidate.experiment.flat()
        self._configs[_hash(config)] = name
        asked = TrialAsked(
            trial=name,
            title=f"{name} {self._title(candidate, number)}{' reference' * reference}"
            + (f" as {earlier}" if earlier else ""),
            point=point,
            config=config,
            repaired=candidate.repaired,
            reference=reference,
            **dataclasses.asdict(size.stored),
            macs_per_second=size.macs_per_second,
            peak_activation_bytes=size.peak_activation_bytes,
            earlier=earlier,
            budget_kb=self._kilobytes(number),
        )
        self._journal.append(asked)
        self._samplers.entered(asked, number, handle)
        return name

    def _title(self, candidate: Candidate, number: int) -> str:
        budget = self._budgets[number]
        kilobytes = counted_bytes(budget.rule, candidate.cost.stored) / budget.rule.unit_bytes
        within = f" of {budget.kilobytes:g}" if len(self._budgets) > 1 else ""
        return f"{short_name(candidate.experiment.architecture)} {kilobytes:.1f}{within} KB"

    def _told(self, trial: TrialRecord) -> Told:
        """What the sampler is told about a trial; unusable if the trial failed or has not ended."""
        ended = trial.ended
        if ended is None or ended.outcome == "failed":
            return Told(usable=False)
        if ended.outcome == "diverged":
            return Told(others=self._costs(trial))
        return Told(
            value=ended.log_loss,
            log_losses={metrics.epoch: metrics.valid_log_loss for metrics in trial.epochs.values()},
            others=self._costs(trial),
        )

    def _costs(self, trial: TrialRecord) -> tuple[float, ...]:
        return costs_of(trial.asked, self._aims, self._budgets[0].rule)


def _hash(config: Mapping[str, Scalar]) -> int:
    return hash(frozenset(config.items()))
