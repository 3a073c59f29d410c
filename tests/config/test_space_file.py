"""Reading search spaces from TOML: their parameters, their families, and what is refused in one line."""

from pathlib import Path

import pytest
from small_space import TEXT, parsed

from asc.config.experiment import Experiment
from asc.config.space import Choice, FloatRange, IntRange, Space
from asc.config.space_file import load_space, parse_space
from asc.errors import InputError


def test_parameters_are_typed(space: Space) -> None:
    assert space.name == "my" and space.text == TEXT
    assert space.parameters == {
        "architecture.widths.0": IntRange(low=4, high=50, step=4),
        "architecture.cardinality": Choice(options=(1, 2, 4)),
        "architecture.time_strides": Choice(options=((2, 2, 1, 2, 1, 1), (1, 1, 1, 1, 1, 1))),
        "augment.speed_factors": Choice(options=((1.0,), (0.85, 1.0, 1.15))),
        "augment.mixup_alpha": FloatRange(low=0.0, high=1.0),
        "schedule.learning_rate_max": FloatRange(low=1e-4, high=1e-2, log=True),
        "schedule.batch_size": Choice(options=(16,)),
        "augment.crop_s": Choice(options=(1.0,)),
    }


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            '"architecture.widht.0" = { low = 4, high = 8 }',
            "my.toml: unknown key architecture.widht.0: did you mean architecture.widths.0",
        ),
        ('"architecture.widths.2" = { low = 4, high = 8 }', "my.toml: unknown key architecture.widths.2: did you mean"),
        ('"architecture" = { choices = [1] }', "my.toml: unknown key architecture: did you mean"),
        (
            '"architecture.widths.0" = { low = 4, hihg = 8 }',
            "my.toml: unknown key architecture.widths.0: hihg: did you mean architecture.widths.0: high",
        ),
        (
            '"architecture.cardinality" = { choices = [1, 2], step = 1 }',
            "my.toml: unknown key architecture.cardinality: step: did you mean architecture.cardinality: choices",
        ),
        ('"architecture.widths.0" = { low = 4 }', "my.toml: missing key architecture.widths.0: high"),
        ('"architecture.widths.0" = {}', "my.toml: missing key architecture.widths.0: low, architecture.widths.0: h"),
        ('"architecture.widths.0" = { low = 8, high = 4 }', "my.toml: architecture.widths.0: the range 8 to 4 by 1 is"),
        (
            '"architecture.widths.0" = { low = 4, high = 8, step = 0 }',
            "my.toml: architecture.widths.0: the range 4 to 8 by 0 is empty",
        ),
        (
            '"architecture.widths.0" = { low = 4, high = 8.5 }',
            "my.toml: architecture.widths.0: high must be a whole number, got 8.5",
        ),
        (
            '"architecture.widths.0" = { low = "4", high = 8 }',
            "my.toml: architecture.widths.0: low must be a whole number, got '4'",
        ),
        (
            '"augment.crop_s" = { low = 2.0, high = 1.0 }',
            "my.toml: augment.crop_s: the range 2.0 to 1.0 is not valid: high must not be below low",
        ),
        (
            '"augment.crop_s" = { low = 0.0, high = 1.0, log = true }',
            "my.toml: augment.crop_s: the range 0.0 to 1.0 is not valid: high must not be below low",
        ),
        ('"augment.crop_s" = { low = 1.0, high = inf }', "my.toml: augment.crop_s: high must be a finite number"),
        (
            '"augment.crop_s" = { low = 1.0, high = 2.0, log = 1 }',
            "my.toml: augment.crop_s: log must be true or false, got 1",
        ),
        ('"augment.crop_s" = { low = 1.0, high = 2.0, step = 1 }', "my.toml: unknown key augment.crop_s: step"),
        (
            '"architecture.widths" = { low = 4, high = 8 }',
            "my.toml: architecture.widths is not a number: list its values as { choices = [...] }",
        ),
        (
            '"architecture.family" = { low = 4, high = 8 }',
            "my.toml: architecture.family is not a number: list its values as { choices = [...] }",
        ),
        ('"architecture.cardinality" = { choices = [] }', "my.toml: architecture.cardinality: choices must be a list"),
        ('"architecture.cardinality" = { choices = 4 }', "my.toml: architecture.cardinality: choices must be a list"),
        (
            '"architecture.cardinality" = { choices = [1, 2.5] }',
            "my.toml: architecture.cardinality: choices must be a whole number, got 2.5",
        ),
        (
            '"architecture.time_strides" = { choices = [[1, "x"]] }',
            "my.toml: architecture.time_strides: choices.1 must be a whole number, got 'x'",
        ),
        (
            '"architecture.family" = { choices = ["vgg"] }',
            "my.toml: architecture.family: choices must be one of resnet_se, cp_mobile, bc_resnet, got 'vgg'",
        ),
        (
            '"architecture.cardinality" = 4',
            "my.toml: architecture.cardinality must be a table such as { low = 4, high = 48, step = 4 }",
        ),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_line(line: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        parsed(line)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("schema = ", "my.toml is not valid TOML: "),
        ("schema = 1\n\ufffd", "my.toml is not valid TOML: "),
        ("[parameters]\nseed = { choices = [1] }", "my.toml: schema is None, but this asc reads schema 1"),
        ("schema = 2\n[parameters]\nseed = { choices = [1] }", "my.toml: schema is 2, but this asc reads schema 1"),
        ("schema = 1\n[paramters]\n", "my.toml: unknown key paramters: did you mean parameters"),
        ("schema = 1", "my.toml: there is no [parameters] table"),
        ("schema = 1\n[parameters]", "my.toml: there is no [parameters] table"),
        ("schema = 1\nparameters = 3", "my.toml: there is no [parameters] table"),
        ("schema = 1\nrule = 2025", "my.toml: rule is 2025: write the name of an accounting rule"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_space(text, source="my.toml", name="my")
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_a_space_may_name_its_rule(space: Space) -> None:
    named = parse_space(TEXT.replace("schema = 1", 'schema = 1\nrule = "dcase2025"'), source="my.toml", name="my")
    assert named.rule == "dcase2025" and space.rule is None and named.parameters == space.parameters


def test_a_space_is_found_by_name_or_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    assert load_space(str(path)).name == "mine"
    assert load_space("quick").name == "quick"
    for name in ("nope", str(tmp_path), str(tmp_path / "none.toml"), ""):
        with pytest.raises(InputError, match="neither a file nor a shipped space: .* idlab128, quick"):
            load_space(name)
    with pytest.raises(InputError, match="cannot be read"):
        load_space("x" * 5000)
    path.write_bytes(b"\xff\x00\xfe")
    with pytest.raises(InputError, match="mine.toml is not a text file: give a search space in TOML"):
        load_space(str(path))


def test_the_error_says_what_kind_of_file_was_given(tmp_path: Path) -> None:
    model, config = tmp_path / "model.safetensors", tmp_path / "config.toml"
    model.write_bytes((40).to_bytes(8, "little") + b"{}")
    config.write_text(Experiment().to_toml())
    with pytest.raises(InputError, match="model.safetensors is not a text file: give a search space"):
        load_space(str(model))
    with pytest.raises(InputError, match="config.toml is the config of one network.*give it as --recipe"):
        load_space(str(config))


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


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[families.resnet_se]", "[families.vgg]", "tables for the families vgg, cp_mobile, but the choices"),
        (
            '"architecture.widths.0"',
            '"architecture.cp_mobile.depths.0"',
            "architecture.cp_mobile.depths.0 is a key of the family cp_mobile, not of resnet_se",
        ),
        (
            '"augment.crop_s" = { choices = [1.0, 2.0] }',
            '"architecture.cardinality" = { choices = [2, 4] }',
            "is a key of the family resnet_se alone: move it to [families.resnet_se]",
        ),
        (
            '"architecture.cp_mobile.kernel" = { choices = [5] }',
            '"augment.crop_s" = { choices = [1.0] }',
            "augment.crop_s is in [parameters] and in [families.cp_mobile]",
        ),
    ],
)
def test_keys_in_the_wrong_table_are_refused_in_one_line(old: str, new: str, sentence: str) -> None:
    with pytest.raises(InputError, match=r"^my.toml: ") as error:
        parse_space(FAMILIES.replace(old, new, 1), source="my.toml", name="my")
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_a_key_of_a_family_that_is_not_drawn_is_refused() -> None:
    text = (
        'schema = 1\n[parameters]\n"architecture.cp_mobile.kernel" = { choices = [3, 5] }\n'
        '"architecture.family" = { choices = ["resnet_se"] }\n'
    )
    with pytest.raises(InputError, match="is a key of the family cp_mobile, not of resnet_se"):
        parse_space(text, source="my.toml", name="my")
    mixed = text.replace(
        '"architecture.family" = { choices = ["resnet_se"] }', '"architecture.cardinality" = { choices = [2] }'
    )
    with pytest.raises(InputError, match="there are keys of the families cp_mobile and resnet_se"):
        parse_space(mixed, source="my.toml", name="my")
    several = 'schema = 1\n[parameters]\n"architecture.family" = { choices = ["resnet_se", "cp_mobile"] }\n'
    with pytest.raises(InputError, match=r"give a table \[families.NAME\] for each"):
        parse_space(several, source="my.toml", name="my")


def test_a_table_of_the_only_family_is_as_good_as_the_common_one() -> None:
    text = FAMILIES.replace('["resnet_se", "cp_mobile"]', '["cp_mobile"]')
    text = text[: text.index("[families.resnet_se]")] + text[text.index("[families.cp_mobile]") :]
    space = parse_space(text, source="my.toml", name="my")
    assert not space.families and space.settings["architecture.family"] == "cp_mobile"
    assert set(space.sampled) == {"augment.crop_s", "architecture.cp_mobile.base_channels"}


def test_a_portfolio_has_a_value_for_every_sampled_key(space: Space) -> None:
    point = """
[[portfolio]]
"architecture.widths.0" = 8
"architecture.cardinality" = 4
"architecture.time_strides" = [1, 1, 1, 1, 1, 1]
"augment.speed_factors" = [1.0]
"augment.mixup_alpha" = 0
"schedule.learning_rate_max" = 2e-3
"""
    assert space.portfolio == ()
    (found,) = parse_space(TEXT + point, source="my.toml", name="my").portfolio
    assert found == {
        "architecture.widths.0": 8,
        "architecture.cardinality": 4,
        "architecture.time_strides": "[1, 1, 1, 1, 1, 1]",
        "augment.speed_factors": "[1.0]",
        "augment.mixup_alpha": 0.0,
        "schedule.learning_rate_max": 2e-3,
    }
    assert space.point_of(Experiment().updated(space.values(found))) == found
    for old, new, sentence in [
        ('"architecture.cardinality" = 4\n', "", "portfolio, point 1: there is no architecture.cardinality, which the"),
        ('cardinality" = 4', 'cardinality" = 3', "portfolio, point 1: architecture.cardinality is 3, which the space"),
        (
            '"architecture.widths.0" = 8',
            '"architecture.widths.0" = 9',
            "architecture.widths.0 is 9, which the space do",
        ),
        (
            '"architecture.widths.0" = 8',
            '"architecture.widths.0" = "8"',
            "architecture.widths.0 must be a whole number",
        ),
        ('"augment.mixup_alpha"', '"schedule.batch_size"', "portfolio, point 1: unknown key schedule.batch_size"),
        ("[[portfolio]]", "[portfolio]", "portfolio must hold points: begin each with a line [[portfolio]]"),
    ]:
        with pytest.raises(InputError) as error:
            parse_space(TEXT + point.replace(old, new), source="my.toml", name="my")
        assert "my.toml: " in str(error.value) and sentence in str(error.value)


def test_a_point_of_a_portfolio_has_the_keys_of_its_family() -> None:
    text = """schema = 1
[parameters]
"architecture.family" = { choices = ["resnet_se", "cp_mobile"] }
"schedule.learning_rate_max" = { low = 5e-4, high = 8e-3, log = true }
[families.resnet_se]
"architecture.widths.0" = { low = 4, high = 64, step = 4 }
[families.cp_mobile]
"architecture.cp_mobile.base_channels" = { low = 8, high = 64, step = 8 }
"""
    point = """
[[portfolio]]
"architecture.family" = "cp_mobile"
"schedule.learning_rate_max" = 1e-3
"architecture.cp_mobile.base_channels" = 32
"""
    found = parse_space(text + point, source="my.toml", name="my")
    assert found.values(found.portfolio[0])["architecture.cp_mobile.base_channels"] == 32
    for old, new, sentence in [
        ('= "cp_mobile"', '= "vgg"', "point 1: architecture.family is vgg: give one of resnet_se, cp_mobile"),
        ('"architecture.family" = "cp_mobile"', "", "point 1: architecture.family is missing: give one of"),
        ('= "cp_mobile"', '= "resnet_se"', "point 1: unknown key architecture.cp_mobile.base_channels"),
        ('= "cp_mobile"', '= ["cp_mobile"]', "point 1: architecture.family is .'cp_mobile'.: give one of"),
        ('= "cp_mobile"', "= { cp_mobile = 1 }", "point 1: architecture.family is .'cp_mobile': 1.: give one of"),
    ]:
        with pytest.raises(InputError, match=sentence):
            parse_space(text + point.replace(old, new), source="my.toml", name="my")
