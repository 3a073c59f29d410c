"""The preview of a search: shares and sizes are compared with direct counts, and impossible budgets are refused."""

import dataclasses
import random
import re

import pytest

from asc.config.recipes.loading import load_experiment
from asc.config.space import Space
from asc.config.space_file import load_space, parse_space
from asc.errors import InputError
from asc.search.preview import SearchPlan, describe, plan_search, preview
from asc.search.repair import Budget, least
from asc.search.settings import SearchSettings
from asc.size.law import cost
from asc.size.rules import rule


def test_the_share_of_points_that_fit_equals_a_direct_count(idlab128: Space) -> None:
    """Count it independently: round widths to the cardinality, then compute the cost of each point."""
    base = load_experiment("qat_8b").updated(idlab128.settings)
    budget = Budget(rule=rule("dcase2021"), kilobytes=128)
    found = preview(base, idlab128, budget)
    rng, fits, points = random.Random(5), 0, 1500
    for _ in range(points):
        values = idlab128.values(idlab128.sample(rng))
        groups = values["architecture.cardinality"]
        widths = [values.pop(f"architecture.widths.{stage}") for stage in (0, 1)]
        rounded = [max(groups, width - width % groups) for width in widths]  # type: ignore[operator]
        drawn = base.updated({**values, "architecture.widths": rounded})  # type: ignore[dict-item]
        fits += cost(drawn).stored.nonzero_bytes <= 131_072
    assert found.fit_share == pytest.approx(fits / points, abs=0.06)
    assert found.repairable_share == 1
    assert 0 < found.smallest_bytes < found.median_bytes < found.largest_bytes <= 131_072


def test_an_impossible_budget_names_the_smallest_size(idlab128: Space) -> None:
    base = load_experiment("qat_8b").updated(idlab128.settings)
    with pytest.raises(InputError, match=r"fits 0.25 KB \(256 bytes\).*takes [\d,]+ bytes.*--budget-kb") as error:
        preview(base, idlab128, Budget(rule=rule("dcase2021"), kilobytes=0.25))
    named = int(re.search(r"takes ([\d,]+) bytes", str(error.value))[1].replace(",", ""))  # type: ignore[index]
    narrowest = [least(base, idlab128, idlab128.sample(rng)) for rng in map(random.Random, range(50))]
    sizes = [size.stored.nonzero_bytes for size in narrowest if not isinstance(size, str)]
    assert len(sizes) == 50 and named <= min(sizes)


def test_limits_that_nothing_fits_are_named_with_what_the_smallest_takes(idlab128: Space) -> None:
    base = load_experiment("qat_8b").updated(idlab128.settings)
    budget = Budget(rule=rule("dcase2021"), kilobytes=128, max_mmacs_per_s=0.01, max_ram_kb=5)
    with pytest.raises(InputError) as error:
        preview(base, idlab128, budget)
    said = str(error.value)
    assert "MMAC per second (allowed: 0.01)" in said and "KB of activations (allowed: 5)" in said
    assert "give a larger --max-mmacs-per-s or --max-ram-kb, or another --space" in said


def test_a_bound_that_no_config_allows_is_refused_at_once() -> None:
    text = 'schema = 1\n[parameters]\n"augment.crop_s" = { low = 0.01, high = 3.0 }\n'
    space = parse_space(text, source="test", name="short")
    with pytest.raises(InputError, match="augment.crop_s"):
        preview(load_experiment("qat_8b"), space, Budget(rule=rule("dcase2021"), kilobytes=128))


RATES = """schema = 1
[parameters]
"front_end.window_s" = { choices = [0.03, 0.09, 0.12] }
"front_end.sample_rate_hz" = { choices = [16000, 32000, 44100] }
"""


def test_points_that_cannot_be_are_counted_and_one_of_them_is_explained(settings: SearchSettings) -> None:
    """At 4,096 DFT points, 0.12 s are too long at 44.1 kHz only: a ninth of the points."""
    plan = plan_search(settings, parse_space(RATES, source="test", name="rates"))
    assert plan.preview.infeasible_share == pytest.approx(1 / 9, abs=0.05)
    assert plan.preview.repairable_share == 1 - plan.preview.infeasible_share
    assert "window_s is 5292 samples" in (plan.preview.infeasible_example or "")
    assert "% have values that do not go together, such as: front_end.window_s is 5292" in describe(plan)
    assert plan.sample_rates_hz == (44_100, 16_000, 32_000), "the reference's first"


def test_a_space_without_such_points_says_nothing_of_them(quick: SearchPlan) -> None:
    assert quick.preview.infeasible_share == 0 and "go together" not in describe(quick)
    assert quick.sample_rates_hz == (44_100,)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('"front_end.window_s" = { choices = [0.2, 0.3] }', "no point of space my is a config, for example because"),
        ('"front_end.sample_rate_hz" = { low = 8000, high = 48000 }', "list the rates as choices"),
    ],
)
def test_a_space_without_a_front_end_or_with_too_many_is_refused(
    settings: SearchSettings, line: str, sentence: str
) -> None:
    space = parse_space(f"schema = 1\n[parameters]\n{line}\n", source="my.toml", name="my")
    with pytest.raises(InputError, match=sentence):
        plan_search(settings, space)


def test_a_rule_under_which_no_front_end_fits_is_refused_in_one_sentence(settings: SearchSettings) -> None:
    """Frames every 0.2 or 0.4 ms: even the narrowest network computes more than 30 MMAC a second."""
    import dataclasses

    text = """schema = 1
[parameters]
"front_end.hop_s" = { choices = [0.0002, 0.0004] }
"front_end.window_s" = { choices = [0.03, 0.1] }
"architecture.widths.0" = { low = 4, high = 24, step = 4 }
"""
    limited = dataclasses.replace(settings, rule="dcase2025")
    with pytest.raises(InputError) as caught:
        plan_search(limited, parse_space(text, source="my.toml", name="my"))
    said = str(caught.value)
    assert said.startswith("no network of space my fits 128 KB") and "\n" not in said
    assert "MMAC per second (allowed: 30); give a larger limit on MACs (another --rule), or another --space" in said


def test_it_names_what_the_options_set_for_all_trials(settings: SearchSettings) -> None:
    given = dataclasses.replace(settings, cycles=3, epochs_per_cycle=2, cycle_growth=2, calibrate="temperature")
    (line,) = (line for line in describe(plan_search(given, load_space("quick"))).splitlines() if "all trials" in line)
    for said in ("cycles 3,", "epochs_per_cycle 2,", "batch_size 16,", "cycle_growth 2", "method temperature"):
        assert said in line


def test_a_plan_has_its_data_and_their_classes(quick: SearchPlan) -> None:
    assert quick.base.architecture.classes == len(quick.manifest.labels) == 10


def test_wrong_data_is_refused(settings: SearchSettings) -> None:
    import dataclasses

    with pytest.raises(InputError, match="nowhere"):
        plan_search(dataclasses.replace(settings, data="folder:nowhere"), load_space("quick"))


FAMILIES = """
schema = 1
[parameters]
"architecture.family" = { choices = ["resnet_se", "cp_mobile"] }
[families.resnet_se]
"architecture.widths.0" = { low = 4, high = 16, step = 4 }
[families.cp_mobile]
"architecture.cp_mobile.base_channels" = { low = 8, high = 32, step = 8 }
"""


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('"schedule.cycles" = { choices = [2] }', "samples schedule.cycles, which all trials must share"),
        (
            '"distillation.weight" = { low = 0.5, high = 1.0 }',
            "samples distillation.weight, which all trials",
        ),
        ('"calibration.fit_on" = { choices = ["test"] }', "a search never opens the test fold"),
        ('"schedule.weight_decay" = { low = -1.0, high = 1.0 }', "space my: schedule.weight_decay must be"),
    ],
)
def test_keys_of_one_family_are_checked_as_those_of_all(settings: SearchSettings, line: str, sentence: str) -> None:
    for table in ("[families.resnet_se]", "[families.cp_mobile]"):
        space = parse_space(FAMILIES.replace(table, f"{table}\n{line}"), source="my.toml", name="my")
        with pytest.raises(InputError, match=sentence):
            plan_search(settings, space)


def test_a_family_that_cannot_fit_at_its_narrowest_is_named(settings: SearchSettings) -> None:
    import dataclasses

    wide = '"architecture.cp_mobile.channels_multiplier" = { choices = [16.0] }'
    text = FAMILIES.replace("[families.cp_mobile]", f"[families.cp_mobile]\n{wide}")
    space = parse_space(text, source="my.toml", name="my")
    small = dataclasses.replace(settings, budget_kb=48)
    with pytest.raises(InputError, match="no network of the family cp_mobile in space my is within the limits: leave"):
        plan_search(small, space)
    assert plan_search(small, space.of_family("resnet_se")).preview.repairable_share > 0


def test_a_rule_with_macs_under_which_no_front_end_fits_is_named(settings: SearchSettings) -> None:
    import dataclasses

    hop = '"front_end.hop_s" = { choices = [0.0001, 0.0002] }'
    space = parse_space(FAMILIES.replace("[families.resnet_se]", f"{hop}\n[families.resnet_se]"), source="f", name="my")
    with pytest.raises(InputError) as error:
        plan_search(dataclasses.replace(settings, rule="dcase2025"), space)
    said = str(error.value)
    assert said.startswith("no network of space my fits 128 KB (128,000 bytes) under dcase2025: the smallest")
    assert "MMAC per second (allowed: 30); give a larger limit on MACs (another --rule), or another --space" in said


def test_a_reference_of_another_family_than_the_space_is_refused(settings: SearchSettings) -> None:
    import dataclasses

    other = dataclasses.replace(settings, recipe="cp_mobile_dcase2024")
    with pytest.raises(InputError, match="a key of the family resnet_se, but the reference is of the family cp_mobile"):
        plan_search(other, load_space("quick"))
    assert plan_search(other, load_space("families128")).base.architecture.family == "cp_mobile"
