"""Repair to the budget: what comes out fits, is the widest that does, and is left alone where it fits already."""

import random

import pytest

from asc.budget import RULES, counted_bytes, limit_bytes, rule
from asc.config import Experiment
from asc.recipes.loading import load_experiment
from asc.search.repair import Budget, repair, scaled_widths
from asc.size import cost
from asc.space import Space, load_space, parse_space


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space("idlab128")


def base(space: Space) -> Experiment:
    return load_experiment("qat_8b").updated(space.settings)


@pytest.mark.parametrize("budget_kb", [16, 48, 128])
@pytest.mark.parametrize("name", [r.name for r in RULES])
def test_every_repaired_point_is_within_the_budget_and_the_next_width_is_not(
    space: Space, name: str, budget_kb: float
) -> None:
    budget, rng = Budget(rule=rule(name), kilobytes=budget_kb), random.Random(1)
    repaired = 0
    for _ in range(150):
        point = space.sample(rng)
        found = repair(base(space), space, point, budget)
        if found is None:
            continue
        architecture = found.experiment.architecture
        assert found.cost == cost(architecture, found.experiment.front_end, found.experiment.compression)
        assert counted_bytes(budget.rule, found.cost.stored) <= limit_bytes(budget.rule, budget_kb)
        limit = budget.rule.macs_per_second_limit
        assert limit is None or found.cost.macs_per_second <= limit
        drawn = (point["architecture.widths.0"], point["architecture.widths.1"])
        candidates = list(scaled_widths(drawn, architecture.cardinality))  # type: ignore[arg-type]
        place = candidates.index(architecture.widths)
        if place > 0:
            wider = found.experiment.updated({"architecture.widths": candidates[place - 1]})
            assert not budget.holds(cost(wider.architecture, wider.front_end, wider.compression))
        repaired += found.repaired
    assert repaired > 0, "the space holds points that do not fit"


def test_the_reference_fits_128_kb_as_it_is_and_is_narrowed_for_less(space: Space) -> None:
    fits = repair(base(space), space, {}, Budget(rule=rule("dcase2021"), kilobytes=128))
    assert fits is not None and not fits.repaired and fits.experiment == base(space)
    narrow = repair(base(space), space, {}, Budget(rule=rule("dcase2021"), kilobytes=32))
    assert narrow is not None and narrow.repaired
    assert all(width % 4 == 0 for width in narrow.experiment.architecture.widths)
    assert narrow.cost.stored.size_bytes <= 32 * 1024


def test_nothing_fits_one_kilobyte(space: Space) -> None:
    budget = Budget(rule=rule("dcase2021"), kilobytes=1)
    rng = random.Random(0)
    assert all(repair(base(space), space, space.sample(rng), budget) is None for _ in range(50))


def test_widths_shrink_together_to_multiples_of_the_cardinality() -> None:
    assert list(scaled_widths((8, 16), 4)) == [(8, 16), (4, 12), (4, 8), (4, 4)]
    assert next(iter(scaled_widths((6, 13), 4))) == (4, 12)
    assert list(scaled_widths((4, 4), 8)) == [(8, 8)]


def test_widths_may_be_drawn_whole() -> None:
    text = 'schema = 1\n[parameters]\n"architecture.widths" = { choices = [[8, 16], [40, 120]] }\n'
    whole = parse_space(text, source="test", name="whole")
    budget = Budget(rule=rule("dcase2021"), kilobytes=128)
    small = repair(load_experiment("qat_8b"), whole, {"architecture.widths": "[8, 16]"}, budget)
    assert small is not None and small.experiment.architecture.widths == (8, 16) and not small.repaired
    large = repair(load_experiment("qat_8b"), whole, {"architecture.widths": "[40, 120]"}, budget)
    assert large is not None and large.repaired and large.experiment.architecture.widths < (40, 120)
