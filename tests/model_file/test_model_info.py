"""The header texts round-trip, and contradictory ones are refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from asc.config.data_choice import DataChoice
from asc.config.recipes.loading import load_experiment, recipe_names
from asc.errors import InputError
from asc.model_file.model_info import DataIdentity, ModelInfo, longest, read, rounded, texts
from asc.results import GroupFigures, Interval, Taught, TeacherNetwork

LABELS = ("a", 'b "c"', "d's", "\u00fc", "e\\f", "g\nh", "0", "1", "down", "up")


@pytest.fixture(params=recipe_names())
def info(request: pytest.FixtureRequest) -> ModelInfo:
    experiment = load_experiment(request.param).updated({"augment.mixup_alpha": 1 / 3, "schedule.epochs_per_cycle": 7})
    choice = DataChoice("csv:/a b/\u00fc's.csv", fold=2, device_irs='/irs "x"')
    found = longest(experiment, LABELS, DataIdentity(choice=choice, digest="f" * 64))
    third = Interval(low=1 / 3, high=2 / 3)
    assert found.evaluation.intervals is not None
    rows = tuple(GroupFigures(name=name, clips=7, log_loss=1 / 3, accuracy=2 / 3) for name in LABELS)
    device = GroupFigures(name="0", clips=7, log_loss=1 / 7, accuracy=0.0, calibration_error=1 / 9)
    return replace(
        found,
        evaluation=replace(
            found.evaluation,
            log_loss=10 / 3,
            per_class=rows,
            per_device=(device, replace(device, name="s1")),
            intervals=replace(found.evaluation.intervals, log_loss=third),
        ),
    )


def test_info_round_trips_with_figures_to_four_decimals(info: ModelInfo) -> None:
    assert read(texts(info)) == rounded(info)
    assert rounded(info).evaluation.log_loss == 3.3333
    assert rounded(info).experiment == info.experiment
    assert read(texts(replace(info, calibration=None))).calibration is None
    fewer = replace(info.evaluation, intervals=None, per_exposure=(), calibration_error=None)
    without = replace(info, evaluation=fewer)
    assert read(texts(without)) == rounded(without)


def test_who_taught_a_network_is_read_again_and_nobody_takes_no_space(info: ModelInfo) -> None:
    teachers = (TeacherNetwork(name="t003", kilobytes=61.2), TeacherNetwork(name="outside"))
    pupil = replace(info, taught=Taught(digest="0123456789abcdef", teachers=teachers))
    assert read(texts(pupil)) == rounded(pupil) and "taught" not in texts(info)
    for wrong in ("{'digest':'x'}", "{'digest':'x','teachers':[[1]]}", "{'teachers':[]}"):
        with pytest.raises(InputError, match=r"taught\.|digest"):
            read({**texts(pupil), "taught": wrong})


def test_texts_need_no_escapes_for_plain_labels(info: ModelInfo) -> None:
    plain = replace(info, labels=tuple(f"label_{number}" for number in range(10)))
    plain = replace(plain, data=replace(info.data, choice=DataChoice("esc10:esc10")))
    plain = replace(plain, evaluation=replace(info.evaluation, per_class=()))
    assert all(len(json.dumps(text)) == len(text) + 2 for text in texts(plain).values())


def changed(info: ModelInfo, section: str, change: dict[str, Any]) -> dict[str, str]:
    exchange = str.maketrans({"'": '"', '"': "'"})
    written = texts(info)
    tree = json.loads(written[section].translate(exchange))
    return {**written, section: json.dumps({**tree, **change}).translate(exchange)}


@pytest.mark.parametrize(
    ("section", "change", "part"),
    [
        ("size", {"file_bytes": 1}, "size does not match the config"),
        ("config", {"seed": 1}, "fingerprint is"),
        ("config", {"extra": 1}, "unknown key config.extra"),
        ("data", {"fold": "1"}, "data.choice.fold must be a whole number"),
        ("data", {"digest": None}, "data.digest must be a text"),
        ("figures", {"log_loss": "x"}, "figures.log_loss must be a number"),
        ("figures", {"per_class": 3}, "figures.per_class"),
        ("figures", {"per_class": [[99, 1, 1.0, 1.0]]}, "a row for class number 99"),
        ("figures", {"per_device": [[0, 1]]}, "has a malformed row"),
        ("figures", {"intervals": {"log_loss": [1.0]}}, "does not have two ends"),
        ("figures", {"intervals": [1]}, "figures.intervals is not a table"),
    ],
)
def test_contradictory_or_malformed_texts_are_refused(
    info: ModelInfo, section: str, change: dict[str, Any], part: str
) -> None:
    with pytest.raises(InputError, match=part):
        read(changed(info, section, change))


@pytest.mark.parametrize("section", ["config", "labels", "data", "size", "figures", "fingerprint"])
def test_a_missing_or_damaged_text_is_refused(info: ModelInfo, section: str) -> None:
    written = texts(info)
    for text in (None, "", "{", "[" * 100_000, "3", "{'a':1}", "[]"):
        with pytest.raises(InputError):
            read({k: v for k, v in {**written, section: text}.items() if v is not None})


def test_there_must_be_one_label_per_class(info: ModelInfo) -> None:
    with pytest.raises(InputError, match="9 labels for 10 classes"):
        replace(info, labels=LABELS[:9])
