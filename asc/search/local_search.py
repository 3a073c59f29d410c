"""Local search: points near the best one so far (the incumbent), drawn between those of TPE.

As PriorBand does around its incumbent (Mallik et al. 2023, https://arxiv.org/abs/2306.12370): each value of the point
changes with a probability, numbers by a normal step that is a share of their range, and choices to any option. Where
the benchmarks of search strategies led to other values than the paper's, `docs/benchmarks.md` has the figures.
"""

import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from asc.config.space import Choice, FloatRange, IntRange, Parameter, encoded
from asc.typed import Scalar

Point = Mapping[str, Scalar]
_TRIES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSearch:
    """Which suggestions are near the incumbent, and how near.

    A `share` of the suggestions is, once there are `after` results. A value is `changed` with this probability, and a
    number by a step whose standard deviation is `sigma` of its range (of its logarithm's, for ranges with `log`).
    """

    share: float = 0.5
    after: int = 5
    changed: float = 0.3
    sigma: float = 0.25

    def is_next(self, results: int, rng: random.Random) -> bool:
        """Whether the next suggestion is one of the share."""
        return results >= self.after and rng.random() < self.share

    def draw(
        self,
        parameters: Mapping[str, Parameter],
        incumbents: Sequence[Point],
        known: Collection[Point],
        rng: random.Random,
    ) -> dict[str, Scalar] | None:
        """A new point near one of the incumbents; None if there is none, or all that were tried are `known`."""
        for _ in range(_TRIES if incumbents else 0):
            point = self.near(parameters, rng.choice(incumbents), rng)
            if point not in known:
                return point
        return None

    def near(self, parameters: Mapping[str, Parameter], point: Point, rng: random.Random) -> dict[str, Scalar]:
        """The point with some of its values changed, in the space; it may be the same."""
        return {
            key: self._moved(parameter, point[key], rng) if rng.random() < self.changed else point[key]
            for key, parameter in parameters.items()
        }

    def _moved(self, parameter: Parameter, value: Scalar, rng: random.Random) -> Scalar:
        match parameter:
            case IntRange(low=low, high=high, step=step):
                steps = (high - low) // step
                place = (float(value) - low) / step
                return low + step * round(min(max(rng.gauss(place, self.sigma * steps), 0), steps))
            case FloatRange(low=low, high=high, log=True):
                place = rng.gauss(math.log(float(value)), self.sigma * math.log(high / low))
                return min(max(math.exp(min(place, math.log(high))), low), high)
            case FloatRange(low=low, high=high):
                return min(max(rng.gauss(float(value), self.sigma * (high - low)), low), high)
            case Choice(options=options):
                return encoded(rng.choice(options))
