"""Samplers of the strategies in `search_quality.py`, beside asc's own."""

import math
import random
import warnings
from collections.abc import Mapping
from typing import Protocol

import optuna

from asc.config.space import FAMILY, Choice, FloatRange, IntRange, Parameter, Space, encoded
from asc.search.local_search import LocalSearch
from asc.search.sampler import Handle, Told
from asc.search.sampler import Sampler as Points
from asc.typed import Scalar

Point = Mapping[str, Scalar]
_STEPS = LocalSearch(changed=0.5, sigma=0.25)  # PriorBand's


class Sampler(Protocol):
    """Suggests points and learns from their results."""

    def ask(self) -> tuple[Handle, Point]:
        """A handle and a point."""
        ...

    def begin(self, point: Point) -> Handle:
        """A handle for a given point."""
        ...

    def tell(self, handle: Handle, told: Told, *, final: bool = True) -> None:
        """The result of a point; unless it is final, a later one replaces it."""
        ...


class Random:
    """Uniform points."""

    def __init__(self, space: Space, seed: int) -> None:
        """A generator of its own."""
        self._space, self._rng = space, random.Random(f"random {seed}")

    def ask(self) -> tuple[Handle, Point]:
        """A random point."""
        return 0, self._space.sample(self._rng)

    def begin(self, point: Point) -> Handle:
        """Nothing is learnt."""
        return 0

    def tell(self, handle: Handle, told: Told, *, final: bool = True) -> None:
        """Nothing is learnt."""


class PlainTPE:
    """Optuna's TPE as it comes, which draws the keys of a family after the family."""

    def __init__(self, space: Space, seed: int) -> None:
        """A study of its own."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        self._trials: list[optuna.Trial] = []

    def ask(self) -> tuple[Handle, Point]:
        """Suggest each key."""
        trial = self._study.ask()
        self._trials.append(trial)
        point: dict[str, Scalar] = {}
        if self._space.families:
            point = self._suggested(trial, Space(name="", text="", parameters=self._space.parameters))
            return len(self._trials) - 1, {
                **point,
                **self._suggested(trial, self._space.of_family(str(point[FAMILY]))),
            }
        return len(self._trials) - 1, self._suggested(trial, self._space)

    def begin(self, point: Point) -> Handle:
        """Enqueue the point."""
        self._study.enqueue_trial(dict(point))
        return self.ask()[0]

    def tell(self, handle: Handle, told: Told, *, final: bool = True) -> None:
        """As pruned, completed or failed. Optuna cannot change a result, so one that is not final is not told."""
        if not final:
            return
        trial = self._trials[handle]
        for epoch, value in (told.log_losses or {}).items():
            trial.report(value, epoch)
        complete = told.state == optuna.trial.TrialState.COMPLETE
        self._study.tell(trial, values=told.value if complete else None, state=told.state)

    def _suggested(self, trial: optuna.Trial, space: Space) -> dict[str, Scalar]:
        return {key: _suggest(trial, key, parameter) for key, parameter in space.sampled.items()}


def _suggest(trial: optuna.Trial, key: str, parameter: Parameter) -> Scalar:
    match parameter:
        case IntRange():
            high = parameter.low + (parameter.high - parameter.low) // parameter.step * parameter.step
            return trial.suggest_int(key, parameter.low, high, step=parameter.step)
        case FloatRange():
            return trial.suggest_float(key, parameter.low, parameter.high, log=parameter.log)
        case Choice():
            found: Scalar = trial.suggest_categorical(key, [encoded(option) for option in parameter.options])
            return found


class GaussianProcess(Points):
    """Optuna's Gaussian process (`GPSampler`), which models completed points alone, in the place of asc's TPE.

    After `most` points TPE goes on, because the work of the process grows with the cube of their number.
    """

    def __init__(self, space: Space, seed: int, *, trials: int = 1000, most: int = 200) -> None:
        """As asc's own sampler."""
        super().__init__(space, seed=seed, trials=trials)
        self._most = most

    def model(self) -> optuna.samplers.BaseSampler:  # type: ignore[override]
        """The process, or TPE."""
        tpe = super().model()
        if self._points >= self._most:
            return tpe
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.GPSampler(
                seed=self._seed + self._drawn, n_startup_trials=self._startup, warn_independent_sampling=False
            )


class PriorBand:
    """As PriorBand (Mallik et al. 2023, https://arxiv.org/abs/2306.12370): uniform points and points near good ones.

    At the first rung half of the points are uniform, as published. The others are near the reference or near the best
    point, by how often points among the best third are near each.
    """

    def __init__(self, space: Space, seed: int, *, uniform: float = 0.5) -> None:
        """Nothing is known but the reference, the first point that is begun."""
        self._space, self._rng, self._uniform = space, random.Random(f"prior {seed}"), uniform
        self._points: list[Point] = []
        self._results: dict[Handle, tuple[float, float]] = {}

    def begin(self, point: Point) -> Handle:
        """Keep it."""
        self._points.append(point)
        return len(self._points) - 1

    def ask(self) -> tuple[Handle, Point]:
        """A uniform point, or one near the reference or the best."""
        ranked = sorted(self._results, key=self._results.__getitem__)
        if self._rng.random() < self._uniform or not self._points:
            point = self._space.sample(self._rng)
        else:
            centre = self._points[0]
            if len(ranked) >= 3:
                good = [self._points[handle] for handle in ranked[: max(1, len(ranked) // 3)]]
                best = good[0]
                near = [sum(math.exp(-_distance(self._space, one, point)) for one in good) for point in (centre, best)]
                centre = best if self._rng.random() < near[1] / sum(near) else centre
            point = _near(self._space, centre, self._rng)
        return self.begin(point), point

    def tell(self, handle: Handle, told: Told, *, final: bool = True) -> None:
        """Keep results: those of later rungs first."""
        if told.usable and told.log_losses is not None:
            self._results[handle] = _order(told)


def _order(told: Told) -> tuple[float, float]:
    """Lowest is best: completed points first, then those of later rungs."""
    assert told.log_losses is not None
    if told.value is not None:
        return -math.inf, told.value
    last = max(told.log_losses)
    return -last, told.log_losses[last]


def _near(space: Space, point: Point, rng: random.Random) -> Point:
    """A point of the same family near this one."""
    inner = space.of_family(str(point[FAMILY])) if space.families else space
    return {**point, **_STEPS.near(inner.sampled, point, rng)}


def _distance(space: Space, one: Point, other: Point) -> float:
    """How many values differ, by at most 1 each."""
    if space.families and one[FAMILY] != other[FAMILY]:
        return float(len(one))
    return float(sum(one[key] != other[key] for key in one))
