"""Which points become trials: the reference, those of earlier runs, then what the sampler draws; each is repaired.

A point is journalled as a trial, or as refused with a reason, before anything else happens. The results of trials are
told to the sampler. A new process replays the journal, and so asks what the earlier one would have asked.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from asc.config.experiment import Experiment
from asc.config.space import Space
from asc.runs.journal import (
    Entry,
    Journal,
    PointRefused,
    RungReached,
    RunRecord,
    TrialAsked,
    TrialEnded,
    TrialRecord,
)
from asc.search.repair import Budget, Candidate, infeasible, repair
from asc.search.sampler import Handle, Told, sampler_of
from asc.search.settings import MOST_REFUSALS, SearchSettings
from asc.size.rules import counted_bytes
from asc.topology.describe import short_name
from asc.typed import Scalar


class Points:
    """The points of one search and the sampler that draws them."""

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
        self._space, self._base, self._budget = space, base, budget
        self._sampler = sampler_of(space, seed=settings.seed, trials=settings.trials)
        self._handles: dict[str, Handle] = {}
        self._configs: dict[int, str] = {}

    def ask(self) -> str | None:
        """Journal the next trial and return its name; None if the space has no further network."""
        return self._ask_reference() or self._ask_earlier() or self._ask_sampler()

    def end(self, name: str) -> None:
        """Tell the sampler how a trial ended."""
        if name in self._handles:
            self._sampler.tell(self._handles.pop(name), _told(self._record.trials[name]))

    def pause(self, name: str, epoch: int) -> None:
        """Tell the sampler how a trial did that is paused after an epoch; a later result replaces this one."""
        if name in self._handles:
            log_losses = {
                number: metrics.valid_log_loss
                for number, metrics in self._record.trials[name].epochs.items()
                if number <= epoch
            }
            self._sampler.tell(self._handles[name], Told(log_losses=log_losses), final=False)

    def replay(self, entries: Sequence[Entry]) -> None:
        """Tell the sampler, in order, what the entries of an earlier process say."""
        ended: set[str] = set()
        for entry in entries:
            match entry.event:
                case TrialAsked() as event:
                    self._replay_asked(event)
                case PointRefused() as event if event.point:
                    self._sampler.skip(event.point)
                    twin = self._record.trials[event.twin] if event.twin in ended and event.twin else None
                    self._sampler.tell(self._sampler.begin(event.point), _told(twin) if twin else Told(usable=False))
                case RungReached(paused=True) as event:
                    self.pause(event.trial, event.epoch)
                case TrialEnded() as event if event.trial in self._record.trials:
                    ended.add(event.trial)
                    self.end(event.trial)

    def _replay_asked(self, asked: TrialAsked) -> None:
        self._configs[_hash(asked.config)] = asked.trial
        if asked.point is not None:
            if not asked.reference and asked.earlier is None:
                self._sampler.skip(asked.point)
            self._handles[asked.trial] = self._sampler.begin(asked.point)

    def _ask_reference(self) -> str | None:
        """Trial 0, once; None afterwards, or if the reference does not fit at any width."""
        if self._record.trials or self._record.refused:
            return None
        candidate = repair(self._base, self._space, {}, self._budget)
        if candidate is None:
            self._journal.append(PointRefused(point={}, reason="the reference does not fit the budget at any width"))
            return None
        point = self._space.point_of(self._base)
        name = self._journal_asked(candidate, point, reference=True)
        if point is not None:
            self._handles[name] = self._sampler.begin(point)
        return name

    def _ask_earlier(self) -> str | None:
        """The next point of an earlier run (`--warm-start`) that is no trial yet; None if there is none."""
        known = {trial.asked.earlier for trial in self._record.trials.values()}
        for earlier in self._record.started.earlier:
            candidate = None if earlier.name in known else repair(self._base, self._space, earlier.point, self._budget)
            if candidate is not None and self._twin(candidate) is None:
                name = self._journal_asked(candidate, earlier.point, earlier=earlier.name)
                self._handles[name] = self._sampler.begin(earlier.point)
                return name
        return None

    def _ask_sampler(self) -> str | None:
        for _ in range(MOST_REFUSALS):
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
                why = infeasible(self._base, self._space, point)
                reason, told = why or "it does not fit the budget at any width", Told(usable=False)
            self._journal.append(PointRefused(point=point, reason=reason, twin=twin.asked.trial if twin else None))
            self._sampler.tell(handle, told)
        return None

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
        *,
        reference: bool = False,
        earlier: str | None = None,
    ) -> str:
        name = f"t{len(self._record.trials):03d}"
        architecture, size = candidate.experiment.architecture, candidate.cost
        kilobytes = counted_bytes(self._budget.rule, size.stored) / self._budget.rule.unit_bytes
        config = candidate.experiment.flat()
        self._configs[_hash(config)] = name
        self._journal.append(
            TrialAsked(
                trial=name,
                title=f"{name} {short_name(architecture)} {kilobytes:.1f} KB"
                + " reference" * reference
                + (f" as {earlier}" if earlier else ""),
                point=point,
                config=config,
                repaired=candidate.repaired,
                reference=reference,
                **dataclasses.asdict(size.stored),
                macs_per_second=size.macs_per_second,
                peak_activation_bytes=size.peak_activation_bytes,
                earlier=earlier,
            )
        )
        return name


def _hash(config: Mapping[str, Scalar]) -> int:
    return hash(frozenset(config.items()))


def _told(trial: TrialRecord) -> Told:
    """What the sampler is told about a trial; unusable if the trial failed or has not ended."""
    if trial.ended is None or trial.ended.outcome == "failed":
        return Told(usable=False)
    if trial.ended.outcome == "diverged":
        return Told()
    return Told(
        value=trial.ended.log_loss,
        log_losses={metrics.epoch: metrics.valid_log_loss for metrics in trial.epochs.values()},
    )
