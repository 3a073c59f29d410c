"""Repair gives the widest network that fits the budget, and does not change one that already fits."""

import dataclasses
import random
from functools import cache

import pytest

from asc.config.architecture import Architecture, CpMobile
from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.config.space import Space
from asc.config.space_file import load_space, parse_space
from asc.errors import InputError
from asc.search.repair import Budget, infeasible, repair
from asc.search.settings import SearchSettings
from asc.size.law import cost
from asc.size.rules import RULES, counted_bytes, limit_bytes, rule
from asc.topology.describe import narrowings


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space("idlab128")


@cache
def reference() -> Experiment:
    return load_experiment("qat_8b")


def base(space: Space) -> Experiment:
    return reference().updated(space.settings)


@pytest.mark.parametrize("budget_kb", [16, 48, 128])
@pytest.mark.parametrize("name", [r.name for r in RULES])
def test_every_repaired_point_fits_the_budget_and_the_next_width_does_not(
    space: Space, name: str, budget_kb: float
) -> None:
    budget, rng = Budget(rule=rule(name), kilobytes=budget_kb), random.Random(f"{name} {budget_kb}")
    repaired = 0
    for _ in range(60):
        point = space.sample(rng)
        found = repair(base(space), space, point, budget)
        if found is None:
            continue
        architecture = found.experiment.architecture
        assert found.cost == cost(found.experiment)
        assert counted_bytes(budget.rule, found.cost.stored) <= limit_bytes(budget.rule, budget_kb)
        limit = budget.rule.macs_per_second_limit
        assert limit is None or found.cost.macs_per_second <= limit
        candidates = list(narrowings(architecture, space.values(point)))
        place = candidates.index({"architecture.widths": architecture.widths})
        if place > 0:
            wider = found.experiment.updated(candidates[place - 1])
            assert not budget.holds(cost(wider))
        repaired += found.repaired
    assert repaired > 0, "the space must have points that do not fit"


def test_the_reference_fits_128_kb_and_is_narrowed_for_less(space: Space) -> None:
    fits = repair(base(space), space, {}, Budget(rule=rule("dcase2021"), kilobytes=128))
    assert fits is not None and not fits.repaired and fits.experiment == base(space)
    narrow = repair(base(space), space, {}, Budget(rule=rule("dcase2021"), kilobytes=32))
    assert narrow is not None and narrow.repaired
    assert all(width % 4 == 0 for width in narrow.experiment.architecture.widths)
    assert narrow.cost.stored.size_bytes <= 32 * 1024


def test_a_point_of_another_family_keeps_nothing_of_the_base_but_its_classes() -> None:
    space = load_space("families128")
    other = base(space).updated({"architecture.widths": [8, 8], "architecture.classes": 4})
    point = {"architecture.family": "cp_mobile", "architecture.cp_mobile.base_channels": 16}
    found = repair(other, space, point, Budget(rule=rule("dcase2021"), kilobytes=128))
    assert found is not None
    expected = Architecture(family="cp_mobile", classes=4, cp_mobile=CpMobile(base_channels=16))
    assert found.experiment.architecture == expected
    assert not [key for key in found.experiment.flat() if "widths" in key]
    assert Experiment.from_flat(found.experiment.flat()) == found.experiment


def test_a_point_of_any_family_keeps_what_the_command_line_changed() -> None:
    """Settings of the space belong to the reference, which --cycles and the like may override."""
    space = load_space("families128")
    assert space.settings["schedule.cycles"] == 3
    changed = base(space).updated({"schedule.cycles": 2, "schedule.epochs_per_cycle": 4})
    for family in space.families:
        found = repair(changed, space, {"architecture.family": family}, Budget(rule=rule("dcase2021"), kilobytes=128))
        assert found is not None and found.experiment.schedule == changed.schedule


@pytest.mark.parametrize("name", ["idlab128", "grown128", "families128"])
def test_macs_and_memory_are_hard_limits_too(name: str) -> None:
    space = load_space(name)
    free = Budget(rule=rule("dcase2021"), kilobytes=128)
    tight = Budget(rule=rule("dcase2021"), kilobytes=128, max_mmacs_per_s=20, max_ram_kb=2000)
    rng, narrower = random.Random(2), 0
    for _ in range(100):
        point = space.sample(rng)
        wide, narrow = (repair(base(space), space, point, budget) for budget in (free, tight))
        assert wide is not None
        if narrow is None:
            continue
        assert narrow.cost.macs_per_second <= 20_000_000
        assert narrow.cost.peak_activation_bytes <= 2000 * 1024
        assert narrow.cost.stored.parameters <= wide.cost.stored.parameters
        narrower += narrow.cost.stored.parameters < wide.cost.stored.parameters
    assert narrower > 10
    both = Budget(rule=rule("dcase2024"), kilobytes=128, max_mmacs_per_s=40)
    assert both.most_mmacs_per_s == 30 and tight.most_mmacs_per_s == 20 and free.most_mmacs_per_s is None


def test_a_window_longer_than_its_dft_is_no_trial_and_says_why() -> None:
    space = load_space("front128")
    short, budget = base(space), Budget(rule=rule("dcase2021"), kilobytes=128)
    point = {**space.sample(random.Random(0)), "front_end.window_s": 0.1857596, "front_end.dft_points": 8192}
    assert infeasible(short, space, point) is None and repair(short, space, point, budget) is not None
    point |= {"front_end.dft_points": 4096}
    assert repair(short, space, point, budget) is None
    assert (infeasible(short, space, point) or "").startswith("front_end.window_s is 8192 samples, but")


def test_a_value_that_no_config_may_have_is_an_error(space: Space) -> None:
    text = 'schema = 1\n[parameters]\n"front_end.mel_bands" = { choices = [4, 128] }\n'
    wrong = parse_space(text, source="test", name="wrong")
    with pytest.raises(InputError, match="front_end.mel_bands must lie between"):
        repair(base(space), wrong, {"front_end.mel_bands": 4}, Budget(rule=rule("dcase2021"), kilobytes=128))


def test_nothing_fits_a_quarter_of_a_kilobyte(space: Space) -> None:
    budget = Budget(rule=rule("dcase2021"), kilobytes=0.25)
    rng = random.Random(0)
    assert all(repair(base(space), space, space.sample(rng), budget) is None for _ in range(50))


def test_a_pruned_network_may_be_wider_and_a_float16_one_must_be_narrower(space: Space) -> None:
    """Pruning helps under rules that do not count zeros; dcase2024 counts them, so it gains nothing there."""
    widths = {"architecture.widths.0": 64, "architecture.widths.1": 128, "architecture.cardinality": 4}

    def widest(name: str, storage: str, prune_ratio: float) -> int:
        point = {**widths, "compression.storage": storage, "compression.prune_ratio": prune_ratio}
        found = repair(base(space), space, point, Budget(rule=rule(name), kilobytes=128))
        assert found is not None and found.experiment.compression.prune_ratio == prune_ratio
        assert counted_bytes(rule(name), found.cost.stored) <= limit_bytes(rule(name), 128)
        return found.experiment.architecture.widths[1]

    ratios = (0.0, 0.25, 0.5, 0.75)
    for storage in ("int8", "float16"):
        found = [widest("dcase2021", storage, ratio) for ratio in ratios]
        assert found == sorted(found) and found[-1] > 1.5 * found[0]
        assert len({widest("dcase2024", storage, ratio) for ratio in ratios}) == 1
    assert widest("dcase2021", "float16", 0.0) < widest("dcase2021", "int8", 0.0)


@pytest.mark.parametrize(("prune_ratio", "method"), [(0.0, "multinomial"), (0.5, "temperature")])
def test_a_pruned_network_gets_a_temperature_instead_of_a_regression(
    space: Space, prune_ratio: float, method: str
) -> None:
    asked = base(space).updated({"calibration.method": "multinomial"})
    point = {**space.sample(random.Random(0)), "compression.prune_ratio": prune_ratio}
    found = repair(asked, space, point, Budget(rule=rule("dcase2021"), kilobytes=128))
    assert found is not None and found.experiment.calibration.method == method


def test_a_search_with_a_pruned_recipe_uses_a_temperature(settings: SearchSettings, space: Space) -> None:
    asked = dataclasses.replace(settings, recipe="16b_prune", calibrate="multinomial")
    assert asked.reference(space, classes=10).calibration.method == "temperature"
    unpruned = dataclasses.replace(settings, recipe="8b_calibm", calibrate="none")
    assert unpruned.reference(space, classes=10).calibration.method == "none"


def test_all_widths_may_be_one_parameter() -> None:
    text = 'schema = 1\n[parameters]\n"architecture.widths" = { choices = [[8, 16], [40, 120]] }\n'
    whole = parse_space(text, source="test", name="whole")
    budget = Budget(rule=rule("dcase2021"), kilobytes=128)
    small = repair(load_experiment("qat_8b"), whole, {"architecture.widths": "[8, 16]"}, budget)
    assert small is not None and small.experiment.architecture.widths == (8, 16) and not small.repaired
    large = repair(load_experiment("qat_8b"), whole, {"architecture.widths": "[40, 120]"}, budget)
    assert large is not None and large.repaired and large.experiment.architecture.widths < (40, 120)
