import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc.config.architecture import Architecture, CpMobile
from asc.config.augment import Augment
from asc.config.experiment import Compression, Experiment, Schedule
from asc.config.front_end import FrontEnd
from asc.config.recipes.loading import experiment_from, load_experiment, parse_assignment, recipe_names
from asc.errors import Infeasible, InputError
from asc.typed import Value, leaves

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def front_ends(draw: st.DrawFn) -> FrontEnd:
    rate_hz = draw(st.integers(1000, 96_000))
    window = draw(st.integers(1, 4096))
    return FrontEnd(
        sample_rate_hz=rate_hz,
        window_s=window / rate_hz,
        hop_s=draw(st.integers(1, min(4096, rate_hz // 10))) / rate_hz,  # the shortest crop is 0.1 s
        dft_points=draw(st.integers(max(16, window), 8192)),
        mel_bands=draw(st.integers(8, 512)),
        log_offset=draw(st.floats(1e-12, 1e3)),
        noise_steps=draw(st.floats(0, 1e3)),
    )


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    stages = draw(st.integers(1, 4))
    cardinality = draw(st.integers(1, 8))
    depths = draw(st.lists(st.integers(1, 4), min_size=stages, max_size=stages))
    strides = st.lists(st.integers(1, 8), min_size=sum(depths), max_size=sum(depths)).map(tuple)
    positive = st.lists(st.integers(1, 64), min_size=stages, max_size=stages)
    return Architecture(
        widths=tuple(cardinality * n for n in draw(positive)),
        depths=tuple(depths),
        se_bottlenecks=tuple(draw(positive)),
        frequency_strides=draw(strides),
        time_strides=draw(strides),
        cardinality=cardinality,
        classes=draw(st.integers(2, 1000)),
    )


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    low, high = sorted(draw(st.lists(st.floats(1e-9, 10), min_size=2, max_size=2)))
    return Schedule(
        cycles=draw(st.integers(1, 10)),
        epochs_per_cycle=draw(st.integers(1, 1000)),
        learning_rate_min=low,
        learning_rate_max=high,
        weight_decay=draw(st.floats(0, 1)),
        batch_size=draw(st.integers(2, 1024)),
    )


def experiments() -> st.SearchStrategy[Experiment]:
    return st.builds(
        Experiment,
        seed=st.integers(0, 2**63 - 1),
        front_end=front_ends(),
        augment=st.builds(
            Augment,
            crop_s=st.floats(0.1, 1e6),
            speed_factors=st.lists(st.floats(0.5, 2.0), min_size=1, max_size=12).map(tuple),
            mixup_alpha=st.floats(0, 1e6),
        ),
        architecture=architectures(),
        compression=st.builds(Compression, freeze_share=st.floats(0, 1, exclude_max=True)),
        schedule=schedules(),
    )


@settings(max_examples=50, deadline=None)
@given(experiments())
def test_toml_round_trip(experiment: Experiment) -> None:
    read = Experiment.from_toml(experiment.to_toml())
    assert read == experiment
    assert read.fingerprint == experiment.fingerprint


@settings(max_examples=50, deadline=None)
@given(experiments(), experiments())
def test_flat_round_trip(experiment: Experiment, other: Experiment) -> None:
    flat = experiment.flat()
    assert experiment.updated(flat) == experiment
    assert Experiment.from_flat(flat) == experiment, "also with tuples longer or shorter than the defaults"
    assert (flat == other.flat()) == (experiment == other) == (experiment.fingerprint == other.fingerprint)


def test_shorter_tuples_come_back_short() -> None:
    experiment = Experiment(augment=Augment(speed_factors=(1.0,)))
    assert Experiment.from_flat(experiment.flat()).augment.speed_factors == (1.0,)


def test_updated_sets_elements_or_whole_tuples_and_keeps_the_original() -> None:
    base = Experiment()
    changed = base.updated(
        {"architecture.widths.1": 64, "augment.speed_factors": [1], "schedule.learning_rate_max": 1, "seed": 5}
    )
    assert changed.architecture.widths == (24, 64)
    assert changed.augment.speed_factors == (1.0,) and type(changed.augment.speed_factors[0]) is float
    assert changed.schedule.learning_rate_max == 1.0
    assert base == Experiment()
    assert base.updated({}) == base


def test_the_recipe_has_the_values_of_the_report() -> None:
    """Sections 2.1 to 2.3 and 3.1 of the report. The next test covers the strides and what the report leaves open."""
    flat = load_experiment("qat_8b").flat()
    report = {
        "front_end.sample_rate_hz": 44_100,  # 2.1: "44.1 KHz"
        "front_end.window_s": 0.03,  # 2.2: "window size is set to 30 ms"
        "front_end.hop_s": 0.01,  # 2.2: "frame shift is 10 ms"
        "front_end.dft_points": 4096,  # 2.2: "a 4096-point DFT"
        "front_end.mel_bands": 128,  # 2.2: "a 128-point Mel-filter bank"
        "augment.crop_s": 3.0,  # 2.1: "3 second random temporal crops"
        "augment.speed_factors.0": 0.85,  # 2.1: "85%, 100% and 115%"
        "augment.speed_factors.1": 1.0,
        "augment.speed_factors.2": 1.15,
        "augment.mixup_alpha": 0.2,  # 2.1: "alpha=0.2"
        "architecture.widths.0": 24,  # figure 1: "24 (48)"
        "architecture.widths.1": 48,
        "architecture.depths.0": 3,  # 2.3: "the first three Double Conv Blocks", "the final three blocks"
        "architecture.depths.1": 3,
        "architecture.se_bottlenecks.0": 4,  # 2.3
        "architecture.se_bottlenecks.1": 8,
        "architecture.cardinality": 4,  # 2.3
        "architecture.classes": 10,  # 2.1
        "compression.storage": "int8",  # 3.1
        "schedule.cycles": 3,  # 2.1: "three full cycles"
        "schedule.epochs_per_cycle": 120,  # 2.1
        "schedule.learning_rate_min": 1e-6,  # 2.1
        "schedule.learning_rate_max": 1e-3,  # 2.1
        "schedule.weight_decay": 1e-4,  # 2.1
        "schedule.batch_size": 64,  # 2.1: "the 64 crops within a minibatch"
    }
    assert {key: flat[key] for key in report} == report


def test_what_the_report_leaves_open() -> None:
    experiment = load_experiment("qat_8b")
    assert experiment.architecture.frequency_strides == (2, 2, 1, 2, 1, 1)
    assert experiment.architecture.time_strides == (2, 2, 1, 2, 1, 1)
    assert experiment.front_end.log_offset == 1e-5
    assert experiment.seed == 0
    assert experiment.front_end.noise_steps == 2.0
    earlier = experiment.updated({"front_end.noise_steps": 0})
    assert earlier == Experiment(), "the defaults are the recipe without the keys added later"


def test_lengths_in_samples_frames_and_epochs() -> None:
    front_end = FrontEnd()
    assert (front_end.window_samples, front_end.hop_samples) == (1323, 441)
    assert front_end.frames(10.0) == 1000, "100 frames a second"
    assert Schedule().epochs == 360
    assert Schedule().cycle_ends == (120, 240, 360)
    with pytest.raises(InputError, match="number of seconds, got nan"):
        front_end.frames(float("nan"))


FINGERPRINT = "df78bf7cc4d2"

OTHER_VALUES: Mapping[str, Mapping[str, Value]] = {
    "seed": {"seed": 1},
    "front_end.sample_rate_hz": {"front_end.sample_rate_hz": 44_101},
    "front_end.window_s": {"front_end.window_s": 0.0301},
    "front_end.hop_s": {"front_end.hop_s": 0.0101},
    "front_end.dft_points": {"front_end.dft_points": 2048},
    "front_end.mel_bands": {"front_end.mel_bands": 127},
    "front_end.log_offset": {"front_end.log_offset": 1.0000001e-5},
    "front_end.noise_steps": {"front_end.noise_steps": 1.0},
    "augment.crop_s": {"augment.crop_s": 3.0000001},
    "augment.speed_factors.0": {"augment.speed_factors.0": 0.86},
    "augment.speed_factors.1": {"augment.speed_factors.1": 1.01},
    "augment.speed_factors.2": {"augment.speed_factors.2": 1.16},
    "augment.mixup_alpha": {"augment.mixup_alpha": 0.0},
    "augment.impulse_response_p": {"augment.impulse_response_p": 0.5},
    "augment.soft_clip_p": {"augment.soft_clip_p": 0.5},
    "augment.soft_clip_db": {"augment.soft_clip_db": 20.0},
    "augment.band_limit_p": {"augment.band_limit_p": 0.5},
    "augment.band_limit_hz": {"augment.band_limit_hz": 3400.0},
    "augment.level_jitter_db": {"augment.level_jitter_db": 6.0},
    "augment.roll_s": {"augment.roll_s": 0.1},
    "augment.freq_mixstyle_p": {"augment.freq_mixstyle_p": 0.4},
    "augment.freq_mixstyle_alpha": {"augment.freq_mixstyle_alpha": 0.4},
    "augment.frequency_mask_bands": {"augment.frequency_mask_bands": 48},
    "augment.time_mask_s": {"augment.time_mask_s": 0.1},
    "architecture.widths.0": {"architecture.widths.0": 28},
    "architecture.widths.1": {"architecture.widths.1": 52},
    "architecture.depths.0": {"architecture.depths": (2, 4)},
    "architecture.depths.1": {"architecture.depths": (4, 2)},
    "architecture.se_bottlenecks.0": {"architecture.se_bottlenecks.0": 5},
    "architecture.se_bottlenecks.1": {"architecture.se_bottlenecks.1": 9},
    **{
        f"architecture.{kind}_strides.{block}": {f"architecture.{kind}_strides.{block}": 3}
        for kind in ("frequency", "time")
        for block in range(6)
    },
    "front_end.mel_scale": {"front_end.mel_scale": "htk"},
    "front_end.normalisation": {"front_end.normalisation": "none"},
    "front_end.residual_lambda": {"front_end.residual_lambda": 0.2},
    "architecture.cardinality": {"architecture.cardinality": 8},
    "architecture.kernel": {"architecture.kernel": "1x3+3x1"},
    "architecture.stem_kernel": {"architecture.stem_kernel": 5},
    "architecture.se_stages": {"architecture.se_stages": "last"},
    "architecture.residual_norm": {"architecture.residual_norm": "stages"},
    "architecture.residual_norm_lambda": {"architecture.residual_norm_lambda": 0.2},
    "architecture.classes": {"architecture.classes": 3},
    "compression.storage": {"compression.storage": "float16"},
    "compression.prune_ratio": {"compression.prune_ratio": 0.25},
    "calibration.method": {"calibration.method": "temperature"},
    "calibration.fit_on": {"calibration.fit_on": "test"},
    "compression.freeze_share": {"compression.freeze_share": 0.5},
    "schedule.cycles": {"schedule.cycles": 2},
    "schedule.epochs_per_cycle": {"schedule.epochs_per_cycle": 121},
    "schedule.cycle_growth": {"schedule.cycle_growth": 2},
    "schedule.learning_rate_min": {"schedule.learning_rate_min": 2e-6},
    "schedule.learning_rate_max": {"schedule.learning_rate_max": 2e-3},
    "schedule.weight_decay": {"schedule.weight_decay": 0.0},
    "schedule.batch_size": {"schedule.batch_size": 63},
    "distillation.temperature": {"distillation.temperature": 3.0},
    "distillation.weight": {"distillation.weight": 0.5},
}
ONLY_ONE_VALUE = {"architecture.family"}


def test_the_fingerprint_is_pinned() -> None:
    """Runs on disk are named after it, so it may change only together with the schema."""
    assert Experiment().fingerprint == FINGERPRINT


def test_a_key_added_later_is_omitted_at_its_default() -> None:
    assert "noise_steps" not in Experiment().tree()["front_end"]
    changed = Experiment().updated({"front_end.noise_steps": 2})
    assert changed.tree()["front_end"]["noise_steps"] == 2.0
    assert Experiment.from_flat(dict(leaves(changed.tree()))) == changed
    assert Experiment.from_flat(dict(leaves(Experiment().tree()))) == Experiment()


def test_the_keys_of_a_family_are_kept_only_where_they_differ_from_their_defaults() -> None:
    cp_mobile = Experiment().updated({"architecture.family": "cp_mobile"})
    assert "cp_mobile" not in cp_mobile.tree()["architecture"]
    larger = cp_mobile.updated({"architecture.cp_mobile.base_channels": 40})
    assert larger.tree()["architecture"]["cp_mobile"] == {"base_channels": 40}
    assert Experiment.of_model(larger.tree()) == larger == Experiment.from_toml(larger.to_toml())
    assert len({Experiment().fingerprint, cp_mobile.fingerprint, larger.fingerprint}) == 3


def test_another_family_keeps_no_key_of_the_old_one_and_has_no_use_for_them() -> None:
    narrow = Experiment().updated({"architecture.widths": [8, 16], "architecture.classes": 4})
    changed = narrow.updated({"architecture.family": "cp_mobile", "architecture.cp_mobile.kernel": 5})
    assert changed.architecture == Architecture(family="cp_mobile", classes=4, cp_mobile=CpMobile(kernel=5))
    for experiment, key in ((narrow, "architecture.cp_mobile.kernel"), (changed, "architecture.widths.0")):
        with pytest.raises(InputError, match=f"{key} is a key of the family .*: leave it out"):
            experiment.updated({key: 5})


def test_values_that_are_allowed_one_by_one_are_told_from_those_that_never_are() -> None:
    """A search passes over the first kind and refuses a space with the second."""
    base = Experiment()
    for changes in ({"front_end.window_s": 0.1}, {"front_end.hop_s": 1e-6}, {"front_end.hop_s": 4.0}):
        with pytest.raises(Infeasible):
            base.updated(changes)
    with pytest.raises(InputError) as caught:
        base.updated({"front_end.mel_bands": 7})
    assert not isinstance(caught.value, Infeasible)


def test_every_field_changes_the_fingerprint() -> None:
    base = Experiment()
    assert set(OTHER_VALUES) | ONLY_ONE_VALUE == set(base.flat()), "a new field needs a line here"
    fingerprints = {key: base.updated(values).fingerprint for key, values in OTHER_VALUES.items()}
    assert len({FINGERPRINT, *fingerprints.values()}) == len(fingerprints) + 1
    assert all(re.fullmatch("[0-9a-f]{12}", fingerprint) for fingerprint in fingerprints.values())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "my.toml has schema None, but this asc reads schema 2: set `schema = 2`"),
        ("schema = 3", "my.toml has schema 3, but this asc reads schema 2: set `schema = 2`"),
        ("schema =", "my.toml is not valid TOML: "),
        ("schema = 2\nseed = " + "1" * 5000, "my.toml is not valid TOML: "),
        ("schema = 2\nsede = 1", "my.toml: unknown key sede: did you mean seed"),
        (
            "schema = 2\n[architecture]\nwidht = [1, 2]",
            "my.toml: unknown key architecture.widht: did you mean architecture.widths",
        ),
        ("schema = 2\n[schedule]\ncycles = 1.5", "my.toml: schedule.cycles must be a whole number, got 1.5"),
        ("schema = 2\n[schedule]\ncycles = '3'", "my.toml: schedule.cycles must be a whole number, got '3'"),
        ("schema = 2\n[augment]\ncrop_s = nan", "my.toml: augment.crop_s must be a finite number, got nan"),
        ("schema = 2\n[front_end]\nwindow_s = inf", "my.toml: front_end.window_s must be a finite number, got inf"),
        ("schema = 2\naugment = 3", "my.toml: augment must be a table, got 3"),
        (
            "schema = 2\n[architecture]\nwidths = [24, 'x']",
            "my.toml: architecture.widths.1 must be a whole number, got 'x'",
        ),
        (
            "schema = 2\n[architecture]\nfamily = 'vgg'",
            "my.toml: architecture.family must be one of resnet_se, cp_mobile, bc_resnet, got 'vgg'",
        ),
        ("schema = 2\n[schedule]\nbatch_size = 1", "my.toml: schedule.batch_size must be at least 2"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        Experiment.from_toml(text, "my.toml")
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"front_end.window_s": 0.1}, "front_end.window_s is 4410 samples, but front_end.dft_points is 4096"),
        ({"front_end.window_s": 0.0}, "front_end.window_s is 0 samples"),
        ({"front_end.hop_s": 1e-6}, "front_end.hop_s must be at least one sample"),
        ({"front_end.sample_rate_hz": 999}, "front_end.sample_rate_hz must lie between 1,000 and 768,000"),
        ({"front_end.mel_bands": 7}, "front_end.mel_bands must lie between 8 and 1,024"),
        ({"front_end.residual_lambda": -0.1}, "front_end.residual_lambda must lie between 0 and 10"),
        ({"front_end.log_offset": 0}, "front_end.log_offset must be above 0"),
        ({"front_end.noise_steps": -0.5}, "front_end.noise_steps must lie between 0 (no noise floor) and 1,000"),
        ({"augment.crop_s": 0.09}, "augment.crop_s must be at least 0.1 s"),
        ({"front_end.hop_s": 4.0}, "augment.crop_s 3.0 is shorter than front_end.hop_s 4.0"),
        ({"augment.speed_factors": []}, "augment.speed_factors must name at least one"),
        ({"augment.speed_factors.1": 2.1}, "augment.speed_factors must lie between 0.5 and 2"),
        ({"augment.mixup_alpha": -0.1}, "augment.mixup_alpha must be 0"),
        ({"architecture.widths": [24]}, "architecture.depths has 2 stages, but architecture.widths has 1"),
        ({"architecture.se_bottlenecks": [4, 4, 4]}, "architecture.se_bottlenecks has 3 stages"),
        ({"architecture.depths": [3, 4]}, "architecture.frequency_strides has 6 values, but architecture.depths has 7"),
        ({"architecture.time_strides": [1]}, "architecture.time_strides has 1 values"),
        ({"architecture.frequency_strides.0": 0}, "architecture.frequency_strides must lie between 1 and 8"),
        ({"architecture.time_strides.5": 9}, "architecture.time_strides must lie between 1 and 8"),
        ({"architecture.depths": [0, 6]}, "architecture.depths must hold values of at least 1"),
        ({"architecture.se_bottlenecks.1": 0}, "architecture.se_bottlenecks must hold values of at least 1"),
        (
            {f"architecture.{key}": [] for key in ("widths", "depths", "se_bottlenecks")}
            | {"architecture.frequency_strides": [], "architecture.time_strides": []},
            "architecture.widths must hold values of at least 1",
        ),
        ({"architecture.widths.0": 26}, "must be multiples of architecture.cardinality 4"),
        ({"architecture.cardinality": 5}, "must be multiples of architecture.cardinality 5"),
        ({"architecture.cardinality": 0}, "architecture.cardinality must be at least 1"),
        ({"architecture.classes": 1}, "architecture.classes must be at least 2"),
        ({"compression.freeze_share": 1.0}, "compression.freeze_share is a share of the last cycle"),
        ({"schedule.cycles": 0}, "schedule.cycles must be at least 1"),
        ({"schedule.cycle_growth": 0}, "schedule.cycle_growth must be at least 1"),
        (
            {"schedule.cycle_growth": 2, "schedule.cycles": 14},
            "schedule.cycle_growth 2 makes 14 cycles longer than 1,000,000 epochs: set fewer schedule.cycles",
        ),
        ({"schedule.cycle_growth": 2, "schedule.cycles": 10**9}, "makes 1000000000 cycles longer than"),
        ({"schedule.learning_rate_min": 0.0}, "schedule.learning_rate_min 0.0 must be above 0"),
        ({"schedule.learning_rate_min": 0.1}, "and at most schedule.learning_rate_max 0.001"),
        ({"schedule.weight_decay": -1e-9}, "schedule.weight_decay must be 0 or more"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 2**63}, "seed must be at least 0 and below 2^63"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(changes: dict[str, Value], part: str) -> None:
    with pytest.raises(InputError) as caught:
        Experiment().updated(changes)
    assert part in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("schedule.batch_size=16", ("schedule.batch_size", 16)),
        (" a.b = [24, 48] ", ("a.b", [24, 48])),
        ("a=1e-3", ("a", 1e-3)),
        ("a=true", ("a", True)),
        ("a='x'", ("a", "x")),
        ("a=resnet_se", ("a", "resnet_se")),
        ("a=b=c", ("a", "b=c")),
        ("a=", ("a", "")),
        ("a=" + "1" * 5000, ("a", "1" * 5000)),
    ],
)
def test_command_line_assignments_are_parsed(text: str, expected: tuple[str, Value]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["seed", "=3", " =3", ""])
def test_text_that_is_not_an_assignment_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write KEY=VALUE"):
        parse_assignment(text)


def test_overrides_apply_to_a_recipe_or_a_config_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(Experiment(seed=4).to_toml())
    assert experiment_from(recipe=None, config=None, overrides=[]) == load_experiment("qat_8b")
    assert experiment_from(recipe=None, config=str(path), overrides=[]).seed == 4
    assert experiment_from(recipe="qat_8b", config=None, overrides=["seed=7", "seed=8"]).seed == 8
    with pytest.raises(InputError, match="not both"):
        experiment_from(recipe="qat_8b", config=str(path), overrides=[])
    with pytest.raises(InputError, match="unknown key sede: did you mean seed"):
        experiment_from(recipe=None, config=None, overrides=["sede=1"])


def test_an_unknown_recipe_or_unreadable_file_is_refused(tmp_path: Path) -> None:
    for name in ("nope", "", str(tmp_path), str(tmp_path / "none.toml")):
        with pytest.raises(InputError, match="neither a file nor a recipe: give a TOML file or one of 16b_prune, "):
            load_experiment(name)
    with pytest.raises(InputError, match="cannot be read"):
        load_experiment("x" * 5000)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="binary.toml is not a text file"):
        load_experiment(str(tmp_path / "binary.toml"))
    (tmp_path / "wrong.toml").write_text("schema = 2\nsede = 1")
    with pytest.raises(InputError, match="wrong.toml: unknown key sede"):
        load_experiment(str(tmp_path / "wrong.toml"))


def test_recipes_are_named() -> None:
    assert "qat_8b" in recipe_names()


def test_experiments_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Experiment().seed = 3  # type: ignore[misc]


def test_an_integer_gives_the_same_fingerprint_as_its_float() -> None:
    whole = Experiment(compression=Compression(prune_ratio=0), augment=Augment(crop_s=2, speed_factors=(1, 2)))
    written = Experiment(
        compression=Compression(prune_ratio=0.0), augment=Augment(crop_s=2.0, speed_factors=(1.0, 2.0))
    )
    assert whole.fingerprint == written.fingerprint
    assert [type(value) for value in whole.flat().values()] == [type(value) for value in written.flat().values()]


def test_a_model_file_can_be_given_as_the_config(tmp_path: Path, tiny_model: Path) -> None:
    from asc.model_file.artefact import load_model
    from asc.model_file.model_header import experiment_in

    assert load_experiment(str(tiny_model), of_model=experiment_in) == load_model(tiny_model)[1].experiment
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes(tiny_model.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"model.safetensors is not a model file .* cut off or altered \(it has"):
        load_experiment(str(damaged), of_model=experiment_in)


def test_the_error_says_what_kind_of_file_was_given(tmp_path: Path) -> None:
    best = tmp_path / "night" / "best"
    best.mkdir(parents=True)
    (best / "config.toml").write_text(Experiment().to_toml())
    for folder in (best, best.parent):
        with pytest.raises(InputError, match=f"is a folder: give {best / 'config.toml'}$"):
            load_experiment(str(folder))
    space = tmp_path / "space.toml"
    space.write_text('schema = 1\n[parameters]\n"augment.crop_s" = { choices = [1.0] }\n')
    with pytest.raises(InputError, match="space.toml is a search space, not a config: give it as --space"):
        load_experiment(str(space))
