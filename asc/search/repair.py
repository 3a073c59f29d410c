"""Turns a sampled point into a config within the budget, by narrowing the network until it fits.

Design decision 1: the size of a network is a function of its config, so it is repaired before it is built.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import cast

from asc.config.architecture import Architecture, Family
from asc.config.experiment import Experiment, method_for
from asc.config.space import FAMILY, Space
from asc.errors import Infeasible
from asc.results import CalibrationMethod, StoredSize
from asc.size.law import Cost, Costing, cost
from asc.size.rules import Rule, counted_bytes, fits, limit_bytes
from asc.topology.describe import drawn, fitted, narrowed, narrowings
from asc.typed import Scalar, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The hard limits of a search: a rule and a size in KB, each of the rule's own unit (1,024 or 1,000 bytes).

    `max_mmacs_per_s` limits the MACs on one second of audio in millions, beside the rule's own limit. `max_ram_kb`
    limits the peak activation memory on 10 s of audio, in KB of 1,024 bytes. None means no limit.
    """

    rule: Rule
    kilobytes: float
    max_mmacs_per_s: float | None = None
    max_ram_kb: float | None = None

    def holds_bytes(self, stored: StoredSize) -> bool:
        """Whether these bytes are within the budget."""
        return counted_bytes(self.rule, stored) <= limit_bytes(self.rule, self.kilobytes)

    def holds(self, size: Cost | Costing) -> bool:
        """Whether a network of this cost is within all limits."""
        return (
            fits(self.rule, size, self.kilobytes)
            and (self.max_mmacs_per_s is None or size.macs_per_second <= self.max_mmacs_per_s * 1e6)
            and (self.max_ram_kb is None or size.peak_activation_bytes <= self.max_ram_kb * 1024)
        )

    @property
    def most_mmacs_per_s(self) -> float | None:
        """The tightest limit on millions of MACs per second of audio, the rule's included."""
        of_rule = self.rule.macs_per_second_limit
        limits = [self.max_mmacs_per_s, None if of_rule is None else of_rule / 1e6]
        return min((limit for limit in limits if limit is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A config within the budget and its cost.

    `repaired`: it differs from the network that was drawn. `narrowed`: it also had to be narrower than the widest valid
    network of the point.
    """

    experiment: Experiment
    cost: Cost
    repaired: bool
    narrowed: bool


def repair(base: Experiment, space: Space, point: Mapping[str, Scalar], budget: Budget) -> Candidate | None:
    """The config of a point with the widest network that fits, or None if the point cannot become a trial.

    It cannot if even the narrowest network does not fit, or if its values do not go together (`infeasible`). A drawn
    point may not be a valid network: its widths may not be multiples of the cardinality, for example. Making it valid
    counts as a repair.

    Raises:
        InputError: no config may have one of the values.
    """
    try:
        return _widest(base, space, point, budget)
    except Infeasible:
        return None


def infeasible(base: Experiment, space: Space, point: Mapping[str, Scalar]) -> str | None:
    """Why the values of a point do not go together, whatever the widths, or None if they do.

    A window longer than its DFT is an example.
    """
    found = least(base, space, point)
    return found if isinstance(found, str) else None


def least(base: Experiment, space: Space, point: Mapping[str, Scalar]) -> Cost | str:
    """The cost of the narrowest network of a point, or why its values do not go together (`infeasible`)."""
    try:
        return cost(_narrowest(base, space.values(point)))
    except Infeasible as problem:
        return str(problem)


def _widest(base: Experiment, space: Space, point: Mapping[str, Scalar], budget: Budget) -> Candidate | None:
    """As `repair`, but raises Infeasible if the values do not go together."""
    values = space.values(point)
    base = of_family(base, values)
    values = fitted(base.architecture, values)
    as_drawn = drawn(base.architecture, values)
    others = {key: value for key, value in values.items() if not key.startswith(tuple(as_drawn))}
    others |= calibration_of(base, values)
    candidates = list(narrowings(base.architecture, values))
    widest = base.updated({**others, **candidates[0]})

    @cache
    def tried(place: int) -> tuple[Experiment, Costing]:
        experiment = replace(widest, architecture=narrowed(widest.architecture, candidates[place]))
        return experiment, Costing(experiment)

    def within(place: int) -> bool:
        return budget.holds(tried(place)[1])

    # Bytes and MACs grow with each width, so bisection finds the widest network that fits. Many fit as they are.
    place = bisect_left(range(len(candidates)), True, hi=0 if within(0) else len(candidates), key=within)
    if place == len(candidates):
        return None
    experiment, found = tried(place)
    return Candidate(
        experiment=experiment,
        cost=found.whole(),
        repaired=candidates[place] != as_drawn,
        narrowed=candidates[place] != candidates[0],
    )


def widened(experiment: Experiment, by: Rule, kilobytes: float) -> Experiment:
    """The network with its widths scaled up together as far as this many KB allow, counted by the rule.

    Raises:
        InputError, Infeasible: no network of the config may be so wide.
    """
    base, limit = experiment.architecture, limit_bytes(by, kilobytes)

    def fits(changes: Mapping[str, Value]) -> bool:
        wider = replace(experiment, architecture=narrowed(base, changes))
        return counted_bytes(by, Costing(wider).stored) <= limit

    changes = drawn(base, {})
    while fits(changes):  # bytes grow with each width
        changes = {key: _doubled(value) for key, value in changes.items()}
    candidates = list(narrowings(base, changes))
    place = bisect_left(range(len(candidates)), True, key=lambda place: fits(candidates[place]))
    return replace(experiment, architecture=narrowed(base, candidates[min(place, len(candidates) - 1)]))


def _doubled(widths: Value) -> Value:
    if isinstance(widths, tuple | list):
        return tuple(2 * int(width) for width in widths)
    return 2 * int(widths)


def _narrowest(base: Experiment, values: Mapping[str, Value]) -> Experiment:
    """The config of the narrowest network of a point, which is given by its config values.

    Raises:
        Infeasible: the values do not go together.
    """
    base = of_family(base, values)
    values = fitted(base.architecture, values)
    *_, last = narrowings(base.architecture, values)
    others = {key: value for key, value in values.items() if not key.startswith(tuple(last))}
    return base.updated({**others, **last, **calibration_of(base, values)})


def of_family(base: Experiment, values: Mapping[str, Value]) -> Experiment:
    """The base with the family of a point, if the point names another one; its keys then begin with their defaults."""
    family = values.get(FAMILY, base.architecture.family)
    if family == base.architecture.family:
        return base
    architecture = Architecture(family=cast(Family, family), classes=base.architecture.classes)
    return replace(base, architecture=architecture)


def calibration_of(base: Experiment, values: Mapping[str, Value]) -> dict[str, Value]:
    """The calibration of a point: its own or else the base's, adjusted if the point is pruned (`method_for`)."""
    ratio = float(values.get("compression.prune_ratio", base.compression.prune_ratio))  # type: ignore[arg-type]
    method = cast(CalibrationMethod, values.get("calibration.method", base.calibration.method))
    return {"calibration.method": method_for(method, ratio)}
