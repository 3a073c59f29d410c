import dataclasses
import json
import math
import random

import pytest
from small_space import parsed

from asc.config.architecture import Architecture
from asc.config.experiment import Experiment
from asc.config.space import Space, encoded
from asc.config.space_file import parse_space


def test_a_single_choice_is_a_setting_and_is_not_sampled(space: Space) -> None:
    assert space.settings == {"schedule.batch_size": 16, "augment.crop_s": 1.0}
    assert set(space.sampled) == set(space.parameters) - set(space.settings)
    assert set(space.sample(random.Random(0))) == set(space.sampled)


def test_samples_lie_in_the_space_and_reach_its_ends(space: Space) -> None:
    rng = random.Random(0)
    points = [space.sample(rng) for _ in range(600)]
    assert {point["architecture.widths.0"] for point in points} == set(range(4, 51, 4)), "the last step is 48"
    assert {point["architecture.cardinality"] for point in points} == {1, 2, 4}
    assert {point["augment.speed_factors"] for point in points} == {"[1.0]", "[0.85, 1.0, 1.15]"}
    rates = [float(point["schedule.learning_rate_max"]) for point in points]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    low = sum(rate < 1e-3 for rate in rates)
    assert 240 <= low <= 360, "log-uniform: half of them lie in the lower decade"
    alphas = [float(point["augment.mixup_alpha"]) for point in points]
    assert 240 <= sum(alpha < 0.5 for alpha in alphas) <= 360


def test_a_log_range_of_one_value_gives_exactly_that_value() -> None:
    """exp(log(x)) differs from x for many x, and samplers refuse a point outside its range."""
    for value in (0.007, 0.003, 0.0011, 0.0057):
        assert math.isclose(math.exp(math.log(value)), value)
        space = parsed(f'"schedule.learning_rate_max" = {{ low = {value}, high = {value}, log = true }}')
        assert space.sample(random.Random(0)) == {"schedule.learning_rate_max": value}


def test_scalar_points_convert_to_config_values_and_back(space: Space) -> None:
    base = Experiment().updated(space.settings)
    for seed in range(20):
        point = space.sample(random.Random(seed))
        assert all(isinstance(value, int | float | str) for value in point.values())
        values = space.values(json.loads(json.dumps(point)))
        architecture = {
            "architecture.widths.0": 4 * int(point["architecture.cardinality"]),
            "architecture.widths.1": 4 * int(point["architecture.cardinality"]),
        }
        experiment = base.updated({**values, **architecture})
        back = space.point_of(experiment)
        assert back == {**point, "architecture.widths.0": architecture["architecture.widths.0"]}


def test_encoded() -> None:
    assert encoded((2, 1)) == encoded([2, 1]) == "[2, 1]"
    assert (encoded(4), encoded("x"), encoded(0.5), encoded(True)) == (4, "x", 0.5, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture.widths.0": 52},  # above the range
        {"architecture.widths.0": 50, "architecture.cardinality": 2},  # between two steps
        {"architecture.cardinality": 8},
        {"architecture.time_strides.5": 2},
        {"augment.mixup_alpha": 1.01},
        {"schedule.learning_rate_max": 2e-2},
        {"augment.speed_factors.0": 0.9},
    ],
)
def test_a_config_outside_the_space_has_no_point(space: Space, changes: dict[str, int | float]) -> None:
    assert space.point_of(Experiment()) is not None
    assert space.point_of(Experiment().updated(changes)) is None


def test_a_drawn_value_counts_where_repair_left_the_space(space: Space) -> None:
    drawn = space.point_of(Experiment())
    assert drawn is not None
    repaired = Experiment().updated({"architecture.widths.0": 50, "architecture.cardinality": 2})
    narrowed = {**drawn, "architecture.cardinality": 2}
    assert space.outside(repaired) == ["architecture.widths.0"] and space.outside(repaired, narrowed) == []
    assert space.point_of(repaired, narrowed) == narrowed
    beyond = {**drawn, "architecture.widths.0": 400}
    assert space.outside(repaired, beyond) == ["architecture.widths.0"] and space.point_of(repaired, beyond) is None


@pytest.mark.parametrize(("low", "high", "inside"), [(24, 24, True), (4, 24, True), (4, 23, False), (25, 64, False)])
def test_both_ends_of_a_range_belong_to_it(low: int, high: int, inside: bool) -> None:
    whole = parsed(f'"architecture.widths.0" = {{ low = {low}, high = {high} }}')
    assert (whole.point_of(Experiment()) is not None) is inside
    real = parsed(f'"augment.crop_s" = {{ low = {low / 8}, high = {high / 8} }}')
    assert (real.point_of(Experiment()) is not None) is inside, "the reference crop is 3 s, 24 eighths of a second"


def test_settings_are_not_part_of_a_point(space: Space) -> None:
    assert space.point_of(Experiment().updated({"schedule.batch_size": 99})) is not None


def test_a_different_number_of_stages_has_no_point(space: Space) -> None:
    one = Architecture(
        widths=(24,), depths=(1,), se_bottlenecks=(4,), frequency_strides=(2,), time_strides=(2,), cardinality=4
    )
    assert space.point_of(dataclasses.replace(Experiment(), architecture=one)) is None
    widths = parsed('"architecture.widths.1" = { low = 4, high = 64, step = 4 }')
    assert widths.point_of(dataclasses.replace(Experiment(), architecture=one)) is None


FAMILIES = """
schema = 1
[parameters]
"architecture.family" = { choices = ["resnet_se", "cp_mobile"] }
"augment.crop_s" = { choices = [1.0, 2.0] }
[families.resnet_se]
"architecture.widths.0" = { low = 4, high = 16, step = 4 }
[families.cp_mobile]
"architecture.cp_mobile.base_channels" = { low = 8, high = 32, step = 8 }
"architecture.cp_mobile.kernel" = { choices = [5] }
"""


def test_a_point_has_the_keys_of_its_family_alone() -> None:
    space = parse_space(FAMILIES, source="my.toml", name="my")
    shared = {"architecture.family", "augment.crop_s"}
    own = {
        "resnet_se": {"architecture.widths.0"},
        "cp_mobile": {"architecture.cp_mobile.base_channels"},
    }
    points = [space.sample(random.Random(seed)) for seed in range(40)]
    assert {point["architecture.family"] for point in points} == set(own)
    for point in points:
        family = str(point["architecture.family"])
        assert set(point) == shared | own[family]
        experiment = Experiment().updated(space.values(point))
        assert experiment.architecture.family == family and space.point_of(experiment) == point
        assert experiment.architecture.cp_mobile.kernel == (5 if family == "cp_mobile" else 3), (
            "a setting of the family"
        )
    assert set(space.sampled) == shared.union(*own.values())
