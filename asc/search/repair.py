"""A sampled point -> a config within the budget: both widths scaled down together until the network fits.

Design decision 1: the size of a network is a function of its config, so what does not fit is mended before it is built.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from asc.budget import Rule, fits
from asc.config import Experiment
from asc.size import Cost, cost
from asc.space import Space
from asc.typed import Scalar, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A rule and how many KB of its own unit it allows."""

    rule: Rule
    kilobytes: float

    def holds(self, size: Cost) -> bool:
        """Whether a network of this cost is within the budget, its MACs included where the rule limits them."""
        return fits(self.rule, size, self.kilobytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A config within the budget and its cost.

    `repaired`: the widths are not those drawn; `narrowed`: not even those with the cardinality's multiples taken.
    """

    experiment: Experiment
    cost: Cost
    repaired: bool
    narrowed: bool


def repair(base: Experiment, space: Space, point: Mapping[str, Scalar], budget: Budget) -> Candidate | None:
    """The config of a point with the largest widths that fit, or None where no widths do.

    Widths become multiples of the cardinality first; that counts as a repair where it changes them.
    """
    values = space.values(point)
    cardinality = int(values.get("architecture.cardinality", base.architecture.cardinality))  # type: ignore[arg-type]
    drawn = {key: value for key, value in values.items() if key.startswith("architecture.widths")}
    widths = _widths(base, drawn)
    others = {key: value for key, value in values.items() if key not in drawn} | calibration_of(base, values)
    candidates = list(scaled_widths(widths, cardinality))

    widest = base.updated({**others, "architecture.widths": candidates[0]})

    def sized(scaled: tuple[int, ...]) -> Candidate:
        experiment = replace(widest, architecture=replace(widest.architecture, widths=scaled))
        size = cost(experiment.architecture, experiment.front_end, experiment.compression)
        return Candidate(experiment=experiment, cost=size, repaired=scaled != widths, narrowed=scaled != candidates[0])

    # Bytes and MACs grow with each width, so the widest that fits is found by bisection.
    place = bisect_left(candidates, True, key=lambda scaled: budget.holds(sized(scaled).cost))
    return sized(candidates[place]) if place < len(candidates) else None


def calibration_of(base: Experiment, values: Mapping[str, Value]) -> dict[str, Value]:
    """How the calibration of a point differs from that of the base: a regression would fill the zeros of a pruned
    network, which takes a single temperature instead.
    """
    pruned = float(values.get("compression.prune_ratio", base.compression.prune_ratio)) > 0  # type: ignore[arg-type]
    regression = base.calibration.method in ("multinomial", "one_vs_rest")
    return {"calibration.method": "temperature"} if pruned and regression else {}


def _widths(base: Experiment, drawn: Mapping[str, Value]) -> tuple[int, ...]:
    """The widths of a point before repair: drawn whole, drawn by stage, or those of the base."""
    whole = drawn.get("architecture.widths", base.architecture.widths)
    assert isinstance(whole, tuple), "a space's choices of widths are tuples"
    by_stage = [drawn.get(f"architecture.widths.{stage}", width) for stage, width in enumerate(whole)]
    return tuple(int(width) for width in by_stage)  # type: ignore[arg-type]


def scaled_widths(widths: tuple[int, ...], cardinality: int) -> Iterator[tuple[int, ...]]:
    """Widths scaled down together, largest first, each a multiple of the cardinality and at least one of it."""
    seen: set[tuple[int, ...]] = set()
    widest = max(widths)
    for numerator in range(widest, 0, -1):
        scaled = tuple(max(cardinality, width * numerator // widest // cardinality * cardinality) for width in widths)
        if scaled not in seen:
            seen.add(scaled)
            yield scaled
