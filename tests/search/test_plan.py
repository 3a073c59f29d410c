"""The plan of a search: data, spaces and references that cannot be searched with are refused before audio is packed."""

import dataclasses

import pytest

from asc.config.space_file import load_space, parse_space
from asc.errors import InputError
from asc.search.plan import SearchPlan, plan_search
from asc.search.settings import SearchSettings


def test_a_plan_has_its_data_and_their_classes(quick: SearchPlan) -> None:
    assert quick.base.architecture.classes == len(quick.manifest.labels) == 10


def test_wrong_data_is_refused(settings: SearchSettings) -> None:
    with pytest.raises(InputError, match="nowhere"):
        plan_search(dataclasses.replace(settings, data="folder:nowhere"), load_space("quick"))


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
    wide = '"architecture.cp_mobile.channels_multiplier" = { choices = [16.0] }'
    text = FAMILIES.replace("[families.cp_mobile]", f"[families.cp_mobile]\n{wide}")
    space = parse_space(text, source="my.toml", name="my")
    small = dataclasses.replace(settings, budget_kb=48)
    with pytest.raises(InputError, match="no network of the family cp_mobile in space my is within the limits: leave"):
        plan_search(small, space)
    assert plan_search(small, space.of_family("resnet_se")).preview.repairable_share > 0


def test_a_rule_with_macs_under_which_no_front_end_fits_is_named(settings: SearchSettings) -> None:
    hop = '"front_end.hop_s" = { choices = [0.0001, 0.0002] }'
    space = parse_space(FAMILIES.replace("[families.resnet_se]", f"{hop}\n[families.resnet_se]"), source="f", name="my")
    with pytest.raises(InputError) as error:
        plan_search(dataclasses.replace(settings, rule="dcase2025"), space)
    said = str(error.value)
    assert said.startswith("no network of space my fits 128 KB (128,000 bytes) under dcase2025: the smallest")
    assert "MMAC per second (allowed: 30); give a larger limit on MACs (another --rule), or another --space" in said


def test_a_reference_of_another_family_than_the_space_is_refused(settings: SearchSettings) -> None:
    other = dataclasses.replace(settings, recipe="cp_mobile_dcase2024")
    with pytest.raises(InputError, match="a key of the family resnet_se, but the reference is of the family cp_mobile"):
        plan_search(other, load_space("quick"))
    assert plan_search(other, load_space("families128")).base.architecture.family == "cp_mobile"
