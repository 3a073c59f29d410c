"""Contract of every recipe and search space that asc ships."""

import json
import random
from pathlib import Path

import pytest

from asc.config.architecture import family_of
from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment, recipe_names
from asc.config.space import FAMILY, Choice, Space
from asc.config.space_file import load_space
from asc.search.repair import Budget, infeasible, repair
from asc.size.law import cost
from asc.size.rules import fits, rule, why_not
from asc.topology import bc_resnet, cp_mobile
from asc.topology.describe import NARROWED, fitted
from asc.topology.resnet_se import WIDTHS

SPACES = sorted(path.stem for path in (Path(__file__).parents[1] / "search_spaces").glob("*.toml"))
POINTS = 150


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> Space:
    return load_space(request.param)


def budget_of(space: Space) -> Budget:
    return Budget(rule=rule(space.rule or "dcase2021"), kilobytes=128)


def test_the_spaces_named_in_the_design_are_shipped() -> None:
    assert {"quick", "idlab128", "grown128", "robust128", "front128", "families128", "dcase2025"} <= set(SPACES)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_valid_complete_and_within_the_limit(name: str) -> None:
    experiment = load_experiment(name)
    text = (Path(__file__).parents[1] / "asc" / "config" / "recipes" / f"{name}.toml").read_text("utf-8")
    written = {key for key in experiment.flat() if f"\n{key.split('.')[-1 - key[-1].isdigit()]} " in text}
    assert written == set(experiment.flat()), "a recipe spells out every value"
    assert fits(rule("dcase2021"), cost(experiment), 128)
    assert Experiment.from_toml(experiment.to_toml()) == experiment


def test_every_key_of_a_space_is_a_config_key(space: Space) -> None:
    for one in space.each():
        flat = Experiment().updated({FAMILY: one.settings.get(FAMILY, "resnet_se")}).flat()
        for key in one.parameters:
            assert key in flat or f"{key}.0" in flat


def test_the_points_of_a_portfolio_are_different_networks_within_the_budget(space: Space) -> None:
    base, found = load_experiment("qat_8b").updated(space.settings), set()
    for point in space.portfolio:
        candidate = repair(base, space, point, budget_of(space))
        assert candidate is not None, infeasible(base, space, point)
        found.add(candidate.experiment)
    assert len(found) == len(space.portfolio) and base not in found


def test_every_sampled_point_builds_and_fits_after_repair(space: Space) -> None:
    base = Experiment().updated(space.settings)
    rng = random.Random(0)
    passed_over = 0
    for _ in range(POINTS):
        point = space.sample(rng)
        candidate = repair(base, space, point, budget_of(space))
        if candidate is None:
            assert infeasible(base, space, point), f"{point} cannot be repaired"
            passed_over += 1
            continue
        architecture = candidate.experiment.architecture
        assert candidate.cost == cost(candidate.experiment)
        assert candidate.cost.stored.nonzero_bytes <= 131_072
        assert why_not(budget_of(space).rule, candidate.cost) is None
        assert Experiment.from_flat(json.loads(json.dumps(candidate.experiment.flat()))) == candidate.experiment
        values = fitted(base.architecture, space.values(point))
        kept = {key: value for key, value in values.items() if not key.startswith(NARROWED)}
        narrowed = {
            WIDTHS: architecture.widths,
            cp_mobile.BASE: architecture.cp_mobile.base_channels,
            bc_resnet.BASE: architecture.bc_resnet.base_channels,
        }
        own = {key: value for key, value in narrowed.items() if family_of(key) == architecture.family}
        assert candidate.experiment == base.updated({**kept, **own})
    assert passed_over < POINTS / 4


def test_every_option_of_every_choice_is_a_valid_config(space: Space) -> None:
    for one in space.each():
        wide = {} if one.settings.get(FAMILY, "resnet_se") != "resnet_se" else {WIDTHS: (64, 64)}
        wide |= {"front_end.dft_points": 16_384}  # for every window
        base = Experiment().updated({**one.settings, **wide})
        for key, parameter in one.parameters.items():
            if isinstance(parameter, Choice):
                assert len(set(parameter.options)) == len(parameter.options)
                for option in parameter.options:
                    base.updated({key: option})


def test_the_reference_fits_with_the_settings_of_the_space(space: Space) -> None:
    reference = load_experiment("qat_8b").updated(space.settings)
    candidate = repair(reference, space, {}, Budget(rule=rule("dcase2021"), kilobytes=128))
    assert candidate is not None and not candidate.repaired


def test_the_space_of_dcase2025_has_its_limits_and_its_baseline() -> None:
    space, baseline = load_space("dcase2025"), load_experiment("cp_mobile_dcase2024")
    assert space.rule == "dcase2025" and space.settings["augment.crop_s"] == 1.0
    assert {family_of(key) for one in space.each() for key in one.sampled} == {None, *space.families}
    reference = baseline.updated(space.settings)
    point = space.point_of(reference)
    assert point is not None
    candidate = repair(reference, space, point, budget_of(space))
    assert candidate is not None and not candidate.repaired and candidate.experiment == reference
    rng = random.Random(1)
    found = [repair(reference, space, space.sample(rng), budget_of(space)) for _ in range(POINTS)]
    sizes = [each.cost for each in found if each is not None]
    assert len(sizes) == POINTS
    assert max(size.stored.size_bytes for size in sizes) <= 128_000
    assert max(size.macs_per_second for size in sizes) <= 30_000_000
    assert sum(each is not None and each.narrowed for each in found) > POINTS / 4, "the limits must matter"


@pytest.mark.parametrize("name", ["idlab128", "grown128"])
def test_the_reference_recipe_is_a_point_of_the_spaces_around_it(name: str) -> None:
    space, reference = load_space(name), load_experiment("qat_8b")
    point = space.point_of(reference)
    assert point is not None
    candidate = repair(reference, space, point, budget_of(space))
    assert candidate is not None and not candidate.repaired
    assert candidate.experiment == reference


def test_grown128_searches_all_that_idlab128_does_and_draws_every_depth() -> None:
    grown, narrower = load_space("grown128"), load_space("idlab128")
    assert {key: grown.parameters[key] for key in narrower.parameters} == narrower.parameters
    base, rng = load_experiment("qat_8b"), random.Random(1)
    found = [repair(base, grown, grown.sample(rng), budget_of(grown)) for _ in range(200)]
    depths = {candidate.experiment.architecture.depths for candidate in found if candidate is not None}
    assert depths == {(one, other) for one in range(1, 5) for other in range(1, 5)}
