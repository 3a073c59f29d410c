"""The data a model may be evaluated on, and the caveats beside its figures."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.data.manifest import Clip, Manifest, load_manifest
from asc.errors import InputError
from asc.evaluation.caveats import about, choice_for, refuse_training_clips
from asc.model_file.model_info import DataIdentity, ModelInfo
from asc.results import CalibrationReport, Evaluation, Examination, Interval, Intervals

ENDS = Interval(low=0.0, high=1.0)
INTERVALS = Intervals(groups=9, lone_classes=0, resamples=100, log_loss=ENDS, accuracy=ENDS, calibration_error=ENDS)
EVALUATION = Evaluation(
    split="test",
    clips=4,
    log_loss=1.0,
    accuracy=0.5,
    micro_log_loss=1.0,
    micro_accuracy=0.5,
    per_class=(),
    per_device=(),
    intervals=INTERVALS,
)
EXAMINATION = Examination(evaluation=EVALUATION, labels=("a", "b"), confusion=(), reliability=())
REPORT = CalibrationReport(
    method="multinomial",
    split="calibration",
    clips=120,
    groups=30,
    shrunk_towards="identity",
    gain_standard_error=0.01,
    strength=1.0,
    temperature=1.1,
    log_loss_uncalibrated=1.0,
    log_loss_temperature=0.9,
    log_loss_method=0.8,
    applied=True,
)


@pytest.fixture
def info(tiny_csv: Path, tiny_experiment: Experiment) -> ModelInfo:
    choice = DataChoice(f"csv:{tiny_csv}", fold=2, data_seed=5, device_irs="irs")
    manifest = load_manifest(replace(choice, device_irs=None))
    data = DataIdentity(choice=choice, digest=manifest.digest)
    return ModelInfo(experiment=tiny_experiment, labels=manifest.labels, data=data, evaluation=EVALUATION)


def final(info: ModelInfo) -> ModelInfo:
    choice = replace(info.data.choice, device_irs=None, part="all")
    return replace(info, data=DataIdentity(choice=choice, digest=load_manifest(choice).digest))


def notes(info: ModelInfo, **changes: Any) -> tuple[str, ...]:
    plain = replace(info.data.choice, device_irs=None)
    info = replace(info, data=replace(info.data, choice=changes.pop("trained", plain)))
    given = {"manifest": load_manifest(plain), "split": "test", **changes}
    return about(info, given["manifest"], given["split"], given.get("examination", EXAMINATION), model=Path("m")).notes


def test_a_note_names_devices_that_are_left_out(info: ModelInfo) -> None:
    assert "heard without the devices of its training (irs)" in notes(info, trained=info.data.choice)


def test_only_the_models_own_data_uses_its_devices(info: ModelInfo) -> None:
    own = info.data.choice
    assert choice_for(info, None, None) == own
    assert choice_for(info, own.spec, None) == own
    roundabout = f"{own.spec.rpartition('/')[0]}/../{Path(own.spec).parent.name}/meta.csv"
    assert choice_for(info, roundabout, None) == replace(own, spec=roundabout)
    assert choice_for(info, None, "others") == replace(own, device_irs="others")
    assert choice_for(info, "folder:x", None) == replace(own, spec="folder:x", device_irs=None)
    assert choice_for(info, "folder:x", "others") == replace(own, spec="folder:x", device_irs="others")


def test_own_files_listed_in_another_table_are_refused_but_others_are_not(info: ModelInfo, tmp_path: Path) -> None:
    folder = shutil.copytree(Path(info.data.choice.spec.removeprefix("csv:")).parent, tmp_path / "set")
    choice, table = replace(info.data.choice, spec=f"csv:{folder}/meta.csv"), folder / "meta.csv"
    model = final(replace(info, data=replace(info.data, choice=choice)))
    lines = table.read_text().splitlines()
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text("\n".join([lines[0], *(f"{table.parent}/{line}" for line in lines[1:])]))
    with pytest.raises(InputError, match="trained on all clips"):
        refuse_training_clips(model, DataChoice(f"csv:{elsewhere}"))
    beside = table.with_name("beside.csv")
    for line in lines[1:]:
        shutil.copy(table.parent / line.split(",")[0], table.parent / f"other-{line.split(',')[0]}")
    beside.write_text("\n".join([lines[0], *(f"other-{line}" for line in lines[1:])]))
    refuse_training_clips(model, DataChoice(f"csv:{beside}"))


def test_a_final_model_is_not_evaluated_on_its_training_set(info: ModelInfo, tmp_path: Path) -> None:
    model, folder = final(info), Path(info.data.choice.spec.removeprefix("csv:")).parent
    copy = shutil.copytree(folder, tmp_path / "copy")
    for spec in (None, model.data.choice.spec, f"csv:{folder}/./meta.csv", f"csv:{copy}/meta.csv"):
        with pytest.raises(InputError, match="trained on all clips of csv:.*test fold included"):
            refuse_training_clips(model, choice_for(model, spec, None))
        refuse_training_clips(info, choice_for(info, spec, None))
    lines = (copy / "meta.csv").read_text().splitlines()
    (copy / "meta.csv").write_text("\n".join(lines[:-2]))
    other = choice_for(model, f"csv:{copy}/meta.csv", None)
    refuse_training_clips(model, other)
    assert other.part == "development", "other data keeps its test fold"
    refuse_training_clips(model, choice_for(model, "csv:nowhere", None))


def test_copies_of_the_training_data_keep_its_grouping_but_other_kinds_do_not(info: ModelInfo) -> None:
    own = replace(info.data.choice, spec="folder:here", device_irs=None, group_from="/(.)-")
    model = replace(info, data=replace(info.data, choice=own))
    assert choice_for(model, None, None) == own == choice_for(model, "folder:here", None, group_from="/(.)-")
    assert choice_for(model, "folder:./here", None).group_from == "/(.)-"
    assert choice_for(model, "folder:copy", None).group_from == "/(.)-"
    assert choice_for(model, "folder:other", None, group_from="(..)").group_from == "(..)"
    assert choice_for(model, "folder:other", None, group_from="none").group_from is None
    assert choice_for(model, "csv:other", None).group_from is None
    assert choice_for(model, "csv:other", None, group_from="(..)").group_from == "(..)"


def test_the_models_own_data_cannot_be_regrouped(info: ModelInfo) -> None:
    for trained, asked in ((None, "(.)"), ("(.)", "(..)"), ("(.)", "none")):
        own = replace(info.data.choice, spec="folder:here", group_from=trained)
        model = replace(info, data=replace(info.data, choice=own))
        said = "with --group-from" if trained else "without --group-from"
        with pytest.raises(InputError, match=f"trained on folder:here {said}.*: leave it out"):
            choice_for(model, "folder:here", None, group_from=asked)
    assert choice_for(info, None, None, group_from="none") == info.data.choice


def test_a_final_model_is_not_evaluated_on_its_clips_given_as_another_kind(info: ModelInfo, tmp_path: Path) -> None:
    lines = [f"{label}/{number}-{take}.wav" for label in "xy" for number in range(9) for take in "ab"]
    for line in lines:
        (tmp_path / line).parent.mkdir(exist_ok=True)
        (tmp_path / line).touch()
    (tmp_path / "set.csv").write_text("\n".join(["filename,label,group", *(f"{n},{n[0]},{n[:3]}" for n in lines)]))
    own = DataChoice(f"folder:{tmp_path}", part="all", group_from="^(./.)")
    model = replace(info, data=DataIdentity(choice=own, digest=load_manifest(own).digest))
    with pytest.raises(InputError, match="final one"):
        refuse_training_clips(model, choice_for(model, f"csv:{tmp_path}/set.csv", None))


def test_a_plain_model_on_its_own_data_needs_no_note(info: ModelInfo) -> None:
    assert notes(info) == ()


def test_a_note_names_other_data(info: ModelInfo) -> None:
    other = load_manifest(replace(info.data.choice, device_irs=None, data_seed=6))
    assert "was trained on other data" in notes(info, manifest=other)[0]


@pytest.mark.parametrize(
    ("changes", "split", "said"),
    [
        ({}, "test", ["multinomial calibration on 120 clips of the calibration split, applied"]),
        ({}, "calibration", ["applied", "calibrated on these very clips, which flatters"]),
        ({"applied": False}, "calibration", ["was not applied, for cross-validation saw no sure gain"]),
        ({"split": "test"}, "valid", ["of the test split, applied", "optimistic: test clips were used"]),
        ({"split": "test"}, "test", ["applied", "these very clips", "optimistic"]),
        ({"method": "none", "applied": False}, "test", ["the model is not calibrated"]),
    ],
)
def test_notes_describe_calibration_and_where_it_is_optimistic(
    info: ModelInfo, changes: dict[str, Any], split: str, said: list[str]
) -> None:
    report = replace(REPORT, **changes)
    model = replace(info, calibration=report)
    found = notes(model, split=split)
    assert len(found) == len(said) and all(part in note for part, note in zip(said, found, strict=True)), found
    manifest = load_manifest(replace(info.data.choice, device_irs=None))
    assert about(model, manifest, "valid", EXAMINATION, model=Path("m")).optimistic == report.optimistic


def test_notes_name_weak_or_missing_intervals(info: ModelInfo) -> None:
    lone = replace(EXAMINATION, evaluation=replace(EVALUATION, intervals=replace(INTERVALS, lone_classes=2)))
    assert "2 class(es) have a single location" in notes(info, examination=lone)[0]
    bare = replace(EXAMINATION, evaluation=replace(EVALUATION, intervals=None))
    assert "no intervals" in notes(info, examination=bare)[0]
    assert "has no labels" in notes(info, examination=None)[0]


@pytest.mark.parametrize(
    ("spec", "split", "device_irs", "shown"),
    [
        ("tau2020:here", "test", None, True),
        ("tau2020:here", "valid", None, False),
        ("tau2020:here", "test", "irs", False),
        ("tau2022:here", "test", None, False),
        ("synthetic", "test", None, False),
    ],
)
def test_published_figures_are_shown_only_for_the_same_clips(
    info: ModelInfo, spec: str, split: str, device_irs: str | None, shown: bool
) -> None:
    clips = tuple(Clip(path=n, label=n, device="a", group=n, split="test") for n in ("bus", "tram"))
    choice = DataChoice(spec, device_irs=device_irs)
    manifest = Manifest(choice=choice, labels=("bus", "tram"), clips=clips)
    found = about(info, manifest, split, EXAMINATION, model=Path("m"))  # type: ignore[arg-type]
    assert (found.published is not None) == shown
