"""Tables, Markdown and JSON of an evaluation, and the warning that must be in all of them."""

import dataclasses
import json

import pytest

from asc.console.evaluation_text import About, markdown, sheets, tree
from asc.console.published import tau2020
from asc.results import Evaluation, Examination, GroupFigures, Interval, Intervals, ReliabilityBin, macro
from asc.typed import build

SCENES = tuple(tau2020().baseline_classes)
CLASSES = tuple(
    GroupFigures(name=name, clips=30, log_loss=0.5 + number / 10, accuracy=0.9 - number / 20)
    for number, name in enumerate(SCENES)
)
EVALUATION = Evaluation(
    split="test",
    clips=300,
    log_loss=macro(row.log_loss for row in CLASSES),
    accuracy=macro(row.accuracy for row in CLASSES),
    micro_log_loss=0.9,
    micro_accuracy=0.5,
    per_class=CLASSES,
    per_device=tuple(GroupFigures(name=n, clips=150, log_loss=0.8, accuracy=0.7) for n in ("a", "s4")),
    calibration_error=0.0449,
    per_exposure=tuple(
        GroupFigures(name=n, clips=150, log_loss=0.8, accuracy=0.7, calibration_error=0.05) for n in ("seen", "unseen")
    ),
    intervals=Intervals(
        groups=146,
        lone_classes=0,
        resamples=1000,
        log_loss=Interval(low=0.85, high=1.05),
        accuracy=Interval(low=0.6, high=0.7),
        calibration_error=Interval(low=0.03, high=0.07),
    ),
)
EXAMINATION = Examination(
    evaluation=EVALUATION,
    labels=SCENES,
    confusion=tuple(tuple(30 * (i == j) for j in range(10)) for i in range(10)),
    reliability=(ReliabilityBin(low=0, high=1, clips=300, confidence=0.6, accuracy=0.65),),
)
ABOUT = About(
    model="m.safetensors",
    data="tau2020:here",
    device_irs=None,
    split="test",
    optimistic=False,
    calibration=None,
    notes=("the model is new",),
    published=None,
)


def test_an_evaluation_can_be_read_back_from_json() -> None:
    assert build(Evaluation, json.loads(json.dumps(dataclasses.asdict(EVALUATION)))) == EVALUATION
    bare = dataclasses.replace(EVALUATION, calibration_error=None, per_exposure=(), intervals=None)
    assert build(Evaluation, json.loads(json.dumps(dataclasses.asdict(bare)))) == bare


def test_the_average_row_of_the_classes_is_the_macro_figure() -> None:
    total, classes, devices, exposure = sheets(EVALUATION, ABOUT)
    assert classes.columns == ("class", "clips", "log loss", "accuracy")
    assert classes.footer == (("average", "300", "0.950", "67.5%"),)
    assert ("log loss, macro (mean over classes)", "0.950", "0.850 to 1.050") in total.rows
    assert ("expected calibration error (15 bins)", "0.045", "0.030 to 0.070") in total.rows
    assert devices.rows[1] == ("s4", "150", "0.800", "70.0%")
    assert exposure.rows[1] == ("unseen", "150", "0.800", "70.0%", "0.050")


def test_figures_that_an_evaluation_lacks_are_omitted() -> None:
    bare = dataclasses.replace(EVALUATION, calibration_error=None, per_exposure=(), intervals=None)
    total, classes, devices = sheets(bare)
    assert total.columns == ("", "value") and len(total.rows) == 4


def test_published_figures_are_shown_beside_ours() -> None:
    total, classes, devices, exposure, systems = sheets(EVALUATION, dataclasses.replace(ABOUT, published=tau2020()))
    assert classes.rows[3][-2:] == ("1.999", "28.3%") and classes.footer[0][-2:] == ("1.473", "47.7%")
    assert devices.rows[1][-1] == "1.934" and devices.footer[0][-1] == "1.473"
    assert [row[-1] for row in exposure.rows] == ["1.335", "1.749"]
    assert systems.rows == (
        ("official baseline", "1.473", "47.7%"),
        ("report, system 1 (qat_8b)", "0.820", "71.2%"),
        ("report, system 2 (8b_calibm)", "(0.660)", "(75.3%)"),
        ("report, system 3 (8b_calibo)", "(0.710)", "(74.1%)"),
        ("report, system 4 (16b_prune)", "0.840", "70.2%"),
    )
    assert systems.footer == (("this model", "0.950", "67.5%"),)


def test_the_markdown_page_has_the_notes_and_every_table() -> None:
    page = markdown(EXAMINATION, dataclasses.replace(ABOUT, published=tau2020()))
    assert page.startswith("# test split of tau2020:here\n") and "The model is new." in page
    assert "| metro_station | 30 | 0.800 | 75.0% | 1.999 | 28.3% |" in page
    assert "| **average** | **300** | **0.950** | **67.5%** | **1.473** | **47.7%** |" in page
    assert "Sources: https://dcase.community" in page and "optimistic" in page


@pytest.mark.parametrize("optimistic", [True, False])
def test_the_warning_is_in_every_title_and_in_the_json(optimistic: bool) -> None:
    about = dataclasses.replace(ABOUT, optimistic=optimistic)
    assert all(("optimistic" in sheet.title) == optimistic for sheet in sheets(EVALUATION, about))
    headings = [line for line in markdown(EXAMINATION, about).splitlines() if line.startswith("#")]
    assert len(headings) == 5 and all(("optimistic" in line) == optimistic for line in headings)
    found = json.loads(json.dumps(tree(EXAMINATION, about), allow_nan=False))
    assert found["optimistic"] is optimistic and found["log_loss"] == EVALUATION.log_loss
    assert found["confusion"]["labels"] == list(SCENES) and found["reliability"][0]["clips"] == 300
    ours = sheets(EVALUATION, dataclasses.replace(about, published=tau2020()))[-1].footer[0]
    assert ours[1] == ("(0.950)" if optimistic else "0.950")
