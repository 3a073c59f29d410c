"""Search strategies for `search_quality.py`: what is trained next, and how long.

A strategy is asked for work by free workers and told log losses, as asc's `Conductor` is. It is put together from a
sampler (`ask`, `begin`, `tell`, as `asc.search.sampler.Sampler`) and a rule (what happens at rungs).
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol
from unittest import mock

from strategy_models import Model
from strategy_rules import Rule
from strategy_samplers import Sampler

from asc.config.experiment import Experiment
from asc.config.space import Space
from asc.runs.events import EarlierPoint, RunStarted
from asc.runs.journal import Journal
from asc.search import budgets
from asc.search.conductor import Conductor
from asc.search.local_search import LocalSearch
from asc.search.repair import Budget, repair
from asc.search.sampler import Handle, Told, sampler_of
from asc.search.settings import Asha, SearchSettings
from asc.size.law import cost
from asc.size.rules import rule
from asc.training_results import EpochMetrics, FinalFigures
from asc.typed import Scalar

BUDGET = Budget(rule=rule("dcase2021"), kilobytes=128)
_MANY = 100_000
_REFERENCE = "t0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Train this experiment from the epoch that its checkpoint has."""

    trial: str
    experiment: Experiment
    epoch: int


class Strategy(Protocol):
    """Decides what workers train; the first trial is the reference."""

    def next(self, worker: str) -> Work | None:
        """Work for a free worker; None if there is none before another worker has told something."""
        ...

    def rung(self, worker: str, trial: str, epoch: int, log_loss: float) -> bool:
        """Take the log loss at a rung; return whether the worker should leave the trial here."""
        ...

    def completed(self, worker: str, trial: str, log_loss: float) -> None:
        """Take the final log loss of a trial."""
        ...


@dataclass
class Trial:
    """A point that is trained."""

    name: str
    experiment: Experiment
    handle: Handle | None
    losses: dict[int, float] = field(default_factory=dict)


class Loop:
    """A strategy of a sampler and a rule. A sampled point is repaired; with `reject`, one that does not fit is refused.

    `model` turns what is known of a trial that was left into what the sampler is told; by default its last log loss, as
    Optuna does with pruned trials. The `known` points are tried after the reference.
    """

    def __init__(
        self,
        space: Space,
        base: Experiment,
        sampler: Sampler,
        rule: Rule,
        *,
        reject: bool = False,
        model: "Model | None" = None,
        known: Sequence[Mapping[str, Scalar]] = (),
    ) -> None:
        """`base` is the config of the reference before repair."""
        self._space, self._base, self._sampler, self._rule = space, base, sampler, rule
        self._reject, self._model, self._known = reject, model, list(known)
        self._trials: dict[str, Trial] = {}
        self._configs: set[Experiment] = set()

    def next(self, worker: str) -> Work | None:
        """A promoted trial, or else a new point."""
        if not self._trials:
            return self._begin(self._reference())
        while (name := self._rule.promoted()) is not None:
            if name != _REFERENCE:  # it goes on anyway
                trial = self._trials[name]
                return Work(trial=name, experiment=trial.experiment, epoch=max(trial.losses))
        return self._begin(self._draw()) if self._rule.draws() else None

    def _begin(self, trial: Trial) -> Work:
        self._trials[trial.name] = trial
        self._configs.add(trial.experiment)
        return Work(trial=trial.name, experiment=trial.experiment, epoch=0)

    def _reference(self) -> Trial:
        candidate = repair(self._base, self._space, {}, BUDGET)
        assert candidate is not None
        point = self._space.point_of(self._base)
        return Trial(
            name=_REFERENCE,
            experiment=candidate.experiment,
            handle=None if point is None else self._sampler.begin(point),
        )

    def _draw(self) -> Trial:
        while True:
            if self._known:
                point = self._known.pop(0)
                handle = self._sampler.begin(point)
            else:
                handle, point = self._sampler.ask()
            candidate = repair(self._base, self._space, point, BUDGET)
            unfit = candidate is None or (self._reject and candidate.repaired)
            if candidate is None or unfit or candidate.experiment in self._configs:
                self._sampler.tell(handle, Told(usable=False))
                continue
            return Trial(name=f"t{len(self._trials)}", experiment=candidate.experiment, handle=handle)

    def rung(self, worker: str, trial: str, epoch: int, log_loss: float) -> bool:
        """Ask the rule; the reference is trained to its end."""
        one = self._trials[trial]
        one.losses[epoch] = log_loss
        if self._model is not None:
            self._model.seen(epoch, log_loss)
        leaves = self._rule.leaves(trial, epoch, log_loss) and trial != _REFERENCE
        if leaves:
            self._tell(one, None)
        return leaves

    def completed(self, worker: str, trial: str, log_loss: float) -> None:
        """Tell the sampler."""
        if self._model is not None:
            self._model.completed(self._trials[trial].losses, log_loss)
        self._tell(self._trials[trial], log_loss)

    def _tell(self, trial: Trial, value: float | None) -> None:
        """Tell a trial's result, which is not final if the trial may be promoted."""
        if trial.handle is None:
            return
        final = value is not None or not self._rule.pauses
        if self._model is not None:
            value = self._model.value(trial.losses, value)
        self._sampler.tell(trial.handle, Told(value=value, log_losses=dict(trial.losses)), final=final)


class Real:
    """asc's own `Conductor`, with its journal in memory-backed files."""

    def __init__(
        self,
        space: Space,
        base: Experiment,
        seed: int,
        *,
        asha: Asha = "stopping",
        factor: int = 2,
        known: Sequence[Mapping[str, Scalar]] = (),
        local: LocalSearch | None = None,
    ) -> None:
        """Start a search whose end is far away; the `known` points are tried after the reference."""
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        settings = SearchSettings(
            budget_kb=128.0,
            rule="dcase2021",
            recipe="qat_8b",
            data="recorded",
            fold=1,
            data_seed=0,
            seed=seed,
            trials=_MANY,
            max_concurrent=2,
            cpus_per_trial=1,
            asha=asha,
            reduction_factor=factor,
        )
        started = RunStarted(
            name="replay",
            kind="search",
            settings=settings.scalars(),
            space=f"{space.name}\n{space.text}",
            data_digest="recorded",
            reference=base.flat(),
            earlier=tuple(
                EarlierPoint(run="known", trial=str(number), point=point) for number, point in enumerate(known, 1)
            ),
        )
        journal = Journal(Path(self._folder.name) / "journal.jsonl")
        journal.append(started)
        with mock.patch.object(budgets, "sampler_of", partial(sampler_of, local=local)):
            self._conductor = Conductor(journal=journal, space=space, settings=settings, base=base, budget=BUDGET)

    def next(self, worker: str) -> Work | None:
        """What the conductor hands out."""
        found = self._conductor.next_trial(worker)
        return None if found is None else Work(trial=found.trial, experiment=found.experiment, epoch=found.journalled)

    def rung(self, worker: str, trial: str, epoch: int, log_loss: float) -> bool:
        """Journal the epoch."""
        return self._conductor.epoch_done(worker, _metrics(epoch, log_loss))

    def completed(self, worker: str, trial: str, log_loss: float) -> None:
        """Journal the end."""
        experiment = Experiment.from_flat(self._conductor.record.trials[trial].asked.config)
        epochs = experiment.schedule.epochs
        self._conductor.epoch_done(worker, _metrics(epochs, log_loss))
        built = cost(experiment).stored
        self._conductor.completed(worker, FinalFigures(log_loss=log_loss, accuracy=0.5, epochs=epochs, built=built))


def _metrics(epoch: int, log_loss: float) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch, learning_rate=1e-3, train_loss=log_loss, valid_log_loss=log_loss, valid_accuracy=0.5, seconds=1.0
    )
