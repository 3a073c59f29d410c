"""Samples points with Optuna's TPE (Bergstra et al. 2011; Watanabe 2023, https://arxiv.org/abs/2304.11127).

Some points are drawn near the best one instead (`local_search.py`). TPE learns from their results too.

The points and their results are kept here, and each suggestion is drawn from a study of them, which holds them without
copies. Each suggestion uses a generator seeded by (seed, number of the suggestion), so a resumed search suggests what
an uninterrupted one would have, given equal results.

TPE's work grows with the number of points that it models, so it never sees more than `LONGEST` ended points. When that
number is reached, the study keeps `SHORTEST` of them: the best ones, a fifth of those kept, and the latest of the
others. TPE treats at most the best 25 as good and gives older points less weight, so the dropped points had little
influence. Which points are dropped depends only on the order in which results were told, and so on the journal.

With several objectives (`--objectives`) a point has further figures beside its log loss, which are known before it is
trained, and TPE models the points by their Pareto fronts. Optuna has no pruned trials there. So a trial that stopped or
paused counts with its last log loss, which is nearly always higher than its final one would be, and a diverged one
with the worst figures of all.
"""

import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from asc.config.space import FAMILY, Space
from asc.search import fronts
from asc.search.local_search import LocalSearch
from asc.search.tpe import Model, Storage, distribution
from asc.typed import Scalar

Handle = int
LONGEST, SHORTEST = 1250, 1000
LOCAL = LocalSearch()
_DIVERGED = 10.0  # nats, if no trial has ended yet
_DIVERGED_RANK = (2.0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The result of a point: the final log loss (nats) if trained to the end, and validation log losses by epoch.

    `usable` is False if the result says nothing about the point, as after a failure; the sampler then ignores it.
    `others` are the figures of the further objectives, such as bytes.
    """

    value: float | None = None
    log_losses: Mapping[int, float] | None = None
    usable: bool = True
    others: tuple[float, ...] = ()

    @property
    def state(self) -> TrialState:
        """Optuna's state: stopped and diverged trials are pruned, and a diverged one has no values at all."""
        if not self.usable:
            return TrialState.FAIL
        return TrialState.PRUNED if self.value is None and not self.others else TrialState.COMPLETE

    @property
    def last_log_loss(self) -> float | None:
        """The final log loss, else that of the last epoch; None of a diverged trial."""
        if self.value is not None or not self.log_losses:
            return self.value
        return self.log_losses[max(self.log_losses)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """A point and its result."""

    point: Mapping[str, Scalar]
    told: Told

    @property
    def rank(self) -> tuple[float, ...]:
        """Lowest is best, as in TPE: completed by value, then stopped by last epoch and log loss, then diverged."""
        if self.told.value is not None:
            return 0, self.told.value
        if not self.told.log_losses:
            return _DIVERGED_RANK
        last = max(self.told.log_losses)
        return 1, -last, self.told.log_losses[last]


class FamilySampler:
    """Samples a space of several families: first a family, then a point of it, each by a `Sampler` of its own.

    So the points of a family are modelled by results of that family alone. In one study, TPE would rank the families'
    points together, and a family with no point among the best would be sampled at random.
    """

    def __init__(
        self, space: Space, *, seed: int, trials: int, objectives: int = 1, local: LocalSearch | None = LOCAL
    ) -> None:
        """Start without results (see `Sampler`). Local search is within families; TPE alone chooses the family."""
        choice = Space(name=space.name, text="", parameters={FAMILY: space.parameters[FAMILY]})
        self._choice = Sampler(choice, seed=seed, trials=trials, stream=(1,), objectives=objectives, local=None)
        self._of = {
            family: Sampler(
                space.of_family(family),
                seed=seed,
                trials=trials // len(space.families),
                stream=(2, number),
                objectives=objectives,
                local=local,
            )
            for number, family in enumerate(space.families)
        }
        self._handles: dict[Handle, tuple[Handle, str, Handle]] = {}
        self._points = 0

    def skip(self, point: Mapping[str, Scalar]) -> None:
        """Count the suggestion of a point that an earlier process made."""
        self._choice.skip(point)
        self._of[str(point[FAMILY])].skip(point)

    def ask(self) -> tuple[Handle, dict[str, Scalar]]:
        """Suggest the next point; return its handle for `tell`, and the point."""
        outer, chosen = self._choice.ask()
        family = str(chosen[FAMILY])
        inner, point = self._of[family].ask()
        return self._entered(outer, family, inner), {**chosen, **point}

    def begin(self, point: Mapping[str, Scalar]) -> Handle:
        """Return a handle for a given point: the reference, or a point that an earlier process drew."""
        family = str(point[FAMILY])
        rest = {key: value for key, value in point.items() if key != FAMILY}
        return self._entered(self._choice.begin({FAMILY: family}), family, self._of[family].begin(rest))

    def tell(self, handle: Handle, told: Told, *, final: bool = True) -> None:
        """Record the result of a point; unless it is final, a later one replaces it."""
        outer, family, inner = self._handles.pop(handle) if final else self._handles[handle]
        self._choice.tell(outer, told, final=final)
        self._of[family].tell(inner, told, final=final)

    def _entered(self, outer: Handle, family: str, inner: Handle) -> Handle:
        handle, self._points = self._points, self._points + 1
        self._handles[handle] = outer, family, inner
        return handle


def sampler_of(
    space: Space, *, seed: int, trials: int, objectives: int = 1, local: LocalSearch | None = LOCAL
) -> "Sampler | FamilySampler":
    """The sampler for a space of one family or of several; `local=None` is TPE alone."""
    made = FamilySampler if space.families else Sampler
    return made(space, seed=seed, trials=trials, objectives=objectives, local=local)


class Sampler:
    """Asks Optuna for points and tells it their results. A point's handle is its number in the order of asking."""

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        trials: int,
        stream: tuple[int, ...] = (),
        objectives: int = 1,
        local: LocalSearch | None = LOCAL,
    ) -> None:
        """Start without results. The first third of the trials (two to ten) is random, to give TPE points to model.

        Samplers of different streams draw independently of each other. With several objectives every result that is
        told has one figure less in `others`: the log loss is the first objective. `local=None` is TPE alone.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._distributions = {key: distribution(parameter) for key, parameter in space.sampled.items()}
        self._parameters, self._local = space.sampled, local
        self._stream, self._objectives = stream, objectives
        self._seed, self._startup = seed, min(10, max(2, trials // 3))
        self._drawn, self._points = 0, 0
        self._open: dict[Handle, Mapping[str, Scalar]] = {}
        self._paused: dict[Handle, Mapping[str, Scalar]] = {}
        self._ended: dict[Handle, _Ended] = {}
        self._trials: dict[Handle, FrozenTrial] = {}  # of the open and the ended points

    def skip(self, point: Mapping[str, Scalar]) -> None:
        """Count the suggestion of a point that an earlier process made, so that the next one gets the right seed."""
        self._drawn += 1

    def ask(self) -> tuple[Handle, dict[str, Scalar]]:
        """Suggest the next point; return its handle for `tell`, and the point."""
        point = self._near() or self._modelled()
        self._drawn += 1
        return self.begin(point), point

    def _modelled(self) -> dict[str, Scalar]:
        study = self.study()
        study.sampler = self.model()
        return dict(study.ask(self._distributions).params)

    def _near(self) -> dict[str, Scalar] | None:
        """A point near an incumbent, if the next suggestion is one of local search."""
        rng = random.Random(f"local search {(self._seed, *self._stream, self._drawn)}")
        if self._local is None or not self._local.is_next(len(self._ended), rng):
            return None
        known = [trial.params for trial in self._trials.values()]
        return self._local.draw(self._parameters, self._incumbents(), known, rng)

    def _incumbents(self) -> list[Mapping[str, Scalar]]:
        """The best point; with several objectives the Pareto front of those that were trained longest.

        So a trial that was stopped counts as long as none has completed. A diverged one never does.
        """
        best = min(self._ended, key=lambda number: (self._ended[number].rank, number), default=None)
        if best is None or self._ended[best].rank == _DIVERGED_RANK:
            return []
        if self._objectives == 1:
            return [self._ended[best].point]
        longest = [n for n in sorted(self._ended) if self._ended[n].rank[:-1] == self._ended[best].rank[:-1]]
        figures = {str(number): tuple(self._trials[number].values) for number in longest}
        return [self._ended[int(number)].point for number in fronts.front(figures)]

    def begin(self, point: Mapping[str, Scalar]) -> Handle:
        """Return a handle for a given point: the reference, or a point that an earlier process drew."""
        handle, self._points = self._points, self._points + 1
        self._open[handle] = point
        self._trials[handle] = self._trial(handle, point, TrialState.RUNNING)
        return handle

    def tell(self, handle: Handle, told: Told, *, final: bool = True) -> None:
        """Record the result of a point; unless it is final, a later one replaces it.

        The handle is no longer valid after the final result.
        """
        paused = self._paused.pop(handle, None)
        point = self._open.pop(handle) if paused is None else paused
        if not final:
            self._paused[handle] = point
        if told.usable:
            self._ended[handle] = _Ended(point=point, told=told)
            self._trials[handle] = self._trial(handle, point, told.state, told)
        elif handle not in self._ended:
            self._trials.pop(handle, None)
        if len(self._ended) == LONGEST:
            self._ended = {number: self._ended[number] for number in sorted(self._kept())}
            self._trials = {n: trial for n, trial in self._trials.items() if n in self._ended or n in self._open}

    def model(self) -> TPESampler:
        """Optuna's sampler for the next suggestion."""
        seed = int(np.random.SeedSequence((self._seed, *self._stream, self._drawn)).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return Model(self._distributions, seed=seed, startup=self._startup)

    def study(self) -> optuna.Study:
        """The study that TPE models: all kept points in the order in which they were asked, without failures."""
        return optuna.create_study(
            storage=Storage([self._trials[number] for number in sorted(self._trials)]),
            directions=["minimize"] * self._objectives,
        )

    def _kept(self) -> set[Handle]:
        """The handles of the best ended points and of the latest of the others, `SHORTEST` in all."""
        if self._objectives > 1:
            ranked = list(map(int, fronts.ranked({str(n): tuple(self._trials[n].values) for n in self._ended})))
        else:
            ranked = sorted(sorted(self._ended), key=lambda number: self._ended[number].rank)
        best = SHORTEST // 5
        return {*ranked[:best], *sorted(ranked[best:])[best - SHORTEST :]}

    def _trial(
        self, handle: Handle, point: Mapping[str, Scalar], state: TrialState, told: Told | None = None
    ) -> FrozenTrial:
        """A point as Optuna's trial; number 0 is left to the one that a study begins to draw the next point."""
        now = datetime.now()
        return FrozenTrial(
            number=handle + 1,
            trial_id=handle + 1,
            state=state,
            value=None,
            values=self._values(told) if told is not None and state == TrialState.COMPLETE else None,
            datetime_start=now,
            datetime_complete=now if state.is_finished() else None,
            params=dict(point),
            distributions=self._distributions,
            user_attrs={},
            system_attrs={},
            intermediate_values=dict(told.log_losses or {}) if told is not None else {},
        )

    def _values(self, told: Told) -> list[float]:
        """The figures of a result, one for each objective; those of a diverged trial are the worst so far."""
        log_loss = told.last_log_loss
        if log_loss is not None:
            return [log_loss, *told.others]
        known = [trial.values for trial in self._trials.values() if trial.values is not None]
        return [max(column) for column in zip(*known, (_DIVERGED, *told.others), strict=True)]
