"""Draws points of a space, without training: how many fit the budget, how large they are, and how much they compute."""

import random
from dataclasses import dataclass

from asc.config.experiment import Experiment
from asc.config.space import FAMILY, Choice, Space
from asc.errors import InputError
from asc.search.repair import Budget, Candidate, least, repair
from asc.size.law import Cost
from asc.size.rules import counted_bytes, limit_bytes
from asc.typed import Scalar

_POINTS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Statistics of drawn points: shares that fit as drawn and after repair; sizes and MACs after repair.

    `infeasible_share` counts the points whose values do not go together; `infeasible_example` says why one of them is.
    """

    points: int
    fit_share: float
    repairable_share: float
    infeasible_share: float
    infeasible_example: str | None
    smallest_bytes: int
    median_bytes: int
    largest_bytes: int
    mean_macs_per_second: float


def preview(base: Experiment, space: Space, budget: Budget) -> Preview:
    """Draw points from the space and compute their sizes.

    Raises:
        InputError: no point is within the budget even at its narrowest, or a bound of the space is out of range.
    """
    for one in space.each():
        of_family: dict[str, Scalar] = {FAMILY: str(one.settings[FAMILY])} if space.families else {}
        for key, parameter in one.sampled.items():
            for bound in () if isinstance(parameter, Choice) else (parameter.low, parameter.high):
                _bound_checked(base, space, {**of_family, key: bound}, budget)
    points = _points(space)
    found = [repair(base, space, point, budget) for point in points]
    within = [candidate for candidate in found if candidate is not None]
    refused = [least(base, space, point) for point, repaired in zip(points, found, strict=True) if repaired is None]
    unfit = [why for why in refused if isinstance(why, str)]
    if len(unfit) == len(points):
        raise InputError(f"no point of space {space.name} is a config, for example because {unfit[0]}")
    if not within:
        raise InputError(_impossible(space, budget, [size for size in refused if not isinstance(size, str)]))
    for family in space.families:
        if not any(candidate.experiment.architecture.family == family for candidate in within):
            raise InputError(
                f"no network of the family {family} in space {space.name} is within the limits: leave it out, or give "
                "larger ones"
            )
    sizes = sorted(counted_bytes(budget.rule, candidate.cost.stored) for candidate in within)
    return Preview(
        points=_POINTS,
        fit_share=sum(not candidate.narrowed for candidate in within) / _POINTS,
        repairable_share=len(within) / _POINTS,
        infeasible_share=len(unfit) / _POINTS,
        infeasible_example=unfit[0] if unfit else None,
        smallest_bytes=sizes[0],
        median_bytes=sizes[len(sizes) // 2],
        largest_bytes=sizes[-1],
        mean_macs_per_second=sum(candidate.cost.macs_per_second for candidate in within) / len(within),
    )


def drawn(base: Experiment, space: Space, budget: Budget) -> list[Candidate]:
    """The repaired points that are within the budget, out of a fixed random draw (always the same seed)."""
    candidates = [repair(base, space, point, budget) for point in _points(space)]
    return [candidate for candidate in candidates if candidate is not None]


def _points(space: Space) -> list[dict[str, Scalar]]:
    rng = random.Random(0)
    return [space.sample(rng) for _ in range(_POINTS)]


def _bound_checked(base: Experiment, space: Space, point: dict[str, Scalar], budget: Budget) -> None:
    """Build the network of a point at a bound of the space.

    Raises:
        InputError: no config may have the value.
    """
    try:
        repair(base, space, point, budget)
    except InputError as error:
        raise InputError(f"space {space.name}: {error}") from error


def _impossible(space: Space, budget: Budget, costs: list[Cost]) -> str:
    """The error message if no point fits, with what the narrowest network takes that comes nearest to the limits.

    `costs` are those of the narrowest networks of all points.
    """
    nearest = min(costs, key=lambda size: max(_shares(size, budget).values()))
    counted, shares = counted_bytes(budget.rule, nearest.stored), _shares(nearest, budget)
    limit, ram = budget.most_mmacs_per_s, budget.max_ram_kb
    macs = f" and {nearest.macs_per_second / 1e6:.2f} MMAC per second (allowed: {limit:g})" if limit else ""
    memory = f" and {nearest.peak_activation_bytes / 1024:.0f} KB of activations (allowed: {ram:g})" if ram else ""
    broken = " or ".join(option for option, share in shares.items() if share > 1)
    return (
        f"no network of space {space.name} fits {budget.kilobytes:g} KB "
        f"({limit_bytes(budget.rule, budget.kilobytes):,} bytes) under {budget.rule.name}: the smallest found takes "
        f"{counted:,} bytes{macs}{memory}; give a larger {broken}, or another --space"
    )


def _shares(size: Cost, budget: Budget) -> dict[str, float]:
    """How much of each limit a network takes, by the option that sets the limit; above 1 it is over."""
    shares = {"--budget-kb": counted_bytes(budget.rule, size.stored) / limit_bytes(budget.rule, budget.kilobytes)}
    if (limit := budget.most_mmacs_per_s) is not None:
        option = "--max-mmacs-per-s" if limit == budget.max_mmacs_per_s else "limit on MACs (another --rule)"
        shares[option] = size.macs_per_second / (limit * 1e6)
    if budget.max_ram_kb is not None:
        shares["--max-ram-kb"] = size.peak_activation_bytes / (budget.max_ram_kb * 1024)
    return shares
