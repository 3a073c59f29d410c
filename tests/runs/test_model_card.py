"""The model card: every figure with its interval, and the caveats that belong to it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.model_file.artefact import save_model
from asc.model_file.model_info import DataIdentity, ModelInfo
from asc.models.build import build_network
from asc.models.conversion import to_integer
from asc.results import (
    CalibrationReport,
    Evaluation,
    GroupFigures,
    Interval,
    Intervals,
    SplitFigures,
    Taught,
    TeacherNetwork,
)
from asc.runs.events import Event, FinalAsked, FinalConfirmed, FinalistsChosen, RunStarted, TrialAsked, TrialEnded
from asc.runs.journal import Entry
from asc.runs.model_card import Origin, model_card, origin, with_exports
from asc.runs.record import fold
from asc.size.law import cost
from asc.size.rules import RULES

SCENES = [
    *("airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall"),
    *("street_pedestrian", "street_traffic", "tram"),
]
REPORT = CalibrationReport(
    method="multinomial",
    split="calibration",
    clips=1200,
    groups=50,
    shrunk_towards="identity",
    gain_standard_error=0.01,
    strength=1.0,
    temperature=1.1,
    log_loss_uncalibrated=1.0,
    log_loss_temperature=0.9,
    log_loss_method=0.8,
    applied=True,
)


def figures(names: list[str]) -> tuple[GroupFigures, ...]:
    return tuple(GroupFigures(name=n, clips=200 + k, log_loss=1 + k / 100, accuracy=0.7) for k, n in enumerate(names))


@pytest.fixture
def info() -> ModelInfo:
    """A model like that of the seed's technical report on the largest set: ten scenes, six devices."""
    return ModelInfo(
        experiment=Experiment(),
        labels=tuple(SCENES),
        data=DataIdentity(choice=DataChoice("tau2020:/home/somebody/tau", fold=1, data_seed=4), digest="ab" * 32),
        evaluation=Evaluation(
            split="valid",
            clips=2090,
            log_loss=0.8213,
            accuracy=0.7116,
            micro_log_loss=0.8,
            micro_accuracy=0.71,
            per_class=figures(SCENES),
            per_device=figures(["a", "b", "c", "s1", "s2", "s3"]),
            calibration_error=0.0312,
            intervals=Intervals(
                groups=55,
                lone_classes=0,
                resamples=1000,
                log_loss=Interval(low=0.7411, high=0.9055),
                accuracy=Interval(low=0.6803, high=0.7402),
                calibration_error=Interval(low=0.0201, high=0.0458),
            ),
        ),
        calibration=REPORT,
    )


ORIGIN = Origin(run="night", kind="search", completed=37, budget_kb=128, rule="dcase2021", git_commit="c0ffee")


def tables(text: str) -> dict[str, dict[str, list[str]]]:
    """Heading -> first cell -> other cells of every table; checks that all rows have as many cells as the header."""
    found: dict[str, dict[str, list[str]]] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, *lines = section.splitlines()
        rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        if rows:
            assert len({len(row) for row in rows}) == 1, heading
            found[heading] = {row[0]: row[1:] for row in rows[2:]}
    return found


def test_figures_have_intervals_and_are_given_per_class_and_device(info: ModelInfo) -> None:
    found = tables(model_card(info, ORIGIN))
    total = found["Validation, 2090 clips"]
    assert total["log loss, macro (mean over classes)"] == ["0.821", "0.741 to 0.905"]
    assert total["accuracy, macro"] == ["71.2%", "68.0% to 74.0%"]
    assert total["expected calibration error (15 bins)"] == ["0.031", "0.020 to 0.046"]
    assert set(found["Per class"]) == {*SCENES, "average"}
    assert found["Per device"]["s3"] == ["205", "1.050", "70.0%"]


def test_the_size_equals_that_of_the_stored_network(
    info: ModelInfo, tiny_experiment: Experiment, tmp_path: Path
) -> None:
    small = replace(info, experiment=tiny_experiment, labels=tuple(SCENES[:4]))
    trained = build_network(tiny_experiment.architecture, tiny_experiment.front_end, seed=0).train()
    trained(torch.randn(4, 1, 16, 40, generator=torch.Generator().manual_seed(0)))
    network = to_integer(trained.eval())
    tensors = network.state_dict().values()
    text = model_card(small, ORIGIN)
    found = tables(text)
    size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert found["Stored items"]["total"][2].startswith(f"{size_bytes:,} = ")
    save_model(tmp_path / "model.safetensors", network, small)
    file_bytes = (tmp_path / "model.safetensors").stat().st_size
    assert found["Stored items"]["model file"][2].startswith(f"{file_bytes:,} = ")
    assert f"residual network of {size_bytes:,} bytes, in a file of {file_bytes:,}" in text
    law = cost(tiny_experiment)
    assert f"{law.macs_per_second / 1e6:.1f} million multiply-accumulates" in text
    assert f"{law.peak_activation_bytes:,} bytes of activations" in text


def test_the_rules_say_what_fits(info: ModelInfo) -> None:
    found = tables(model_card(info, ORIGIN))["Within 128 KB?"]
    assert set(found) == {rule.name for rule in RULES}
    assert found["dcase2021"][2] == "yes"
    assert "over the limit of 30" in found["dcase2024"][2]


def test_it_names_the_origin_of_the_model(info: ModelInfo) -> None:
    text = model_card(info, ORIGIN)
    assert text.startswith("# night\n")
    assert "the best of 37 that a search trained within 128 KB (rule dcase2021)" in text
    for fact in (info.experiment.fingerprint, info.data.digest, "c0ffee", "fold 1, data seed 4", "44,100 Hz"):
        assert fact in text
    assert "/home/somebody" not in text, "readers do not have that disk"
    alone = model_card(info, Origin())
    assert "search" not in alone and "commit" not in alone


def test_it_says_who_taught_the_network(info: ModelInfo) -> None:
    assert "Teachers" not in model_card(info, Origin())
    teachers = (TeacherNetwork(name="t003", kilobytes=61.23), TeacherNetwork(name="teacher-seed4", kilobytes=512.0))
    card = model_card(replace(info, taught=Taught(digest="0123456789abcdef", teachers=teachers)), Origin())
    assert (
        "- Teachers: t003 (61.2 KB), teacher-seed4 (512.0 KB). Their soft labels (digest `0123456789abcdef`) have"
        in card
    )
    assert "a weight of 0.98 in the loss, at temperature 2." in card


def test_it_states_the_licence_of_the_data(info: ModelInfo) -> None:
    text = model_card(info, ORIGIN)
    assert "TAU Urban Acoustic Scenes 2020 Mobile" in text and "zenodo.org/records/3819968" in text
    assert "Licence: non-commercial use only, with attribution." in text
    assert "whether that binds a network trained on them, asc cannot say" in text
    own = replace(info, data=replace(info.data, choice=DataChoice("csv:/home/somebody/clips.csv")))
    assert "Licence: not known to asc" in model_card(own, ORIGIN)
    assert "commercial" not in model_card(own, ORIGIN)


def test_environmental_sounds_are_not_called_scenes(info: ModelInfo) -> None:
    data = replace(info.data, choice=DataChoice("esc10:/data/esc10", device_irs="/data/micirp"))
    text = model_card(replace(info, data=data), ORIGIN)
    assert "classes of environmental sounds apart" in text
    assert "no figure on it is a scene classification result" in text
    assert "CC BY 3.0" in text and "MicIRP" in text and "/data" not in text


def test_optimistic_figures_are_marked_in_their_titles(info: ModelInfo) -> None:
    text = model_card(info, ORIGIN)
    assert "Validation clips chose the network, which flatters it" in text
    optimistic = replace(info, calibration=replace(REPORT, split="test"))
    titles = tables(model_card(optimistic, ORIGIN))
    assert "Validation, 2090 clips, optimistic" in titles and "Per device, optimistic" in titles
    assert "no figure of this model may be ranked" in model_card(optimistic, ORIGIN)
    final = replace(info, calibration=None, data=replace(info.data, choice=DataChoice("tau2020:x", part="all")))
    assert "Validation, 2090 clips, clips that were trained on" in tables(model_card(final, ORIGIN))
    assert "no figure here judges it" in model_card(final, ORIGIN)


def test_it_says_what_is_not_known(info: ModelInfo) -> None:
    lone = replace(info, evaluation=replace(info.evaluation, intervals=None))
    assert "No intervals: every class has a single location" in model_card(lone, ORIGIN)
    assert "Nothing is known of a device other than a, b, c, s1, s2, s3" in model_card(info, ORIGIN)


def test_a_model_without_figures_per_class_and_device_has_a_card_without_them(info: ModelInfo) -> None:
    bare = replace(info, evaluation=replace(info.evaluation, per_class=(), per_device=()))
    found = tables(model_card(bare, ORIGIN))
    assert "Validation, 2090 clips" in found and "Per class" not in found and "Per device" not in found


def test_it_fits_into_the_description_of_an_mlflow_model_version(info: ModelInfo) -> None:
    assert len(model_card(info, ORIGIN)) <= 5000


def test_the_origin_is_read_from_the_journal() -> None:
    started = RunStarted(
        name="night", kind="search", settings={"budget_kb": 64.0, "rule": "dcase2024"}, git_commit="c0ffee"
    )
    asked = TrialAsked(
        trial="t000",
        title="t000",
        point=None,
        config={},
        repaired=False,
        parameters=1,
        size_bytes=1,
        nonzero_parameters=1,
        nonzero_bytes=1,
        file_bytes=1,
        macs_per_second=1,
        peak_activation_bytes=1,
    )
    events = [started]
    for trial, outcome in (("t000", "completed"), ("t001", "stopped"), ("t002", "completed")):
        events += [
            replace(asked, trial=trial),
            TrialEnded(trial=trial, outcome=outcome, epochs=1, seconds=1.0, log_loss=1.0, accuracy=0.5),
        ]
    found = origin(fold([Entry(time_s=0.0, event=event, end_offset=0) for event in events]))
    assert found == Origin(
        run="night", kind="search", completed=2, budget_kb=64.0, rule="dcase2024", git_commit="c0ffee"
    )
    training = replace(started, kind="train", settings={"data": "synthetic"})
    assert origin(fold([Entry(time_s=0.0, event=training, end_offset=0)])).budget_kb == 128


def test_the_card_of_a_winner_says_how_the_finals_chose_it(info: ModelInfo) -> None:
    settings = {"budget_kb": 64.0, "rule": "dcase2024"}
    started = RunStarted(name="night", kind="search", settings=settings)
    sizes = ("parameters", "size_bytes", "nonzero_parameters", "nonzero_bytes", "file_bytes", "macs_per_second")
    counts = dict.fromkeys((*sizes, "peak_activation_bytes"), 1)
    asked = TrialAsked(trial="t000", title="t000", point=None, config={}, repaired=False, **counts)
    events: list[Event] = [
        started,
        asked,
        TrialEnded(trial="t000", outcome="completed", epochs=1, seconds=1.0, log_loss=1.0),
    ]
    events.append(FinalistsChosen(trials=("t000",), seeds=(1, 2), cycles=3, epochs_per_cycle=120))
    for seed in (1, 2):
        name, log_loss = f"t000-seed{seed}", 1.0 + 0.2 * seed
        figures = SplitFigures(split="calibration", clips=24, log_loss=log_loss, accuracy=0.5)
        assert "retrained" not in model_card(info, told(events)), "not before all finals have ended"
        events.append(FinalAsked(final=name, trial="t000", title=name, seed=seed, config={}))
        events.append(FinalConfirmed(final=name, figures=figures))
        events.append(TrialEnded(trial=name, outcome="completed", epochs=1, seconds=1.0, log_loss=log_loss))
    card = model_card(info, told(events))
    assert (
        "That search retrained its best network with 2 seeds each, and judged it on 24 clips of locations that it had "
        "not used. Of the networks with the most seeds trained, this one had the lowest mean log loss there: "
        "1.300 ± 0.141 (in the search, on validation: "
        "1.000). This file holds seed 1, the best of its seeds on validation."
    ) in card


def told(events: list[Event]) -> Origin:
    """The origin that a journal of these events tells of."""
    return origin(fold([Entry(time_s=0.0, event=event, end_offset=0) for event in events]))


def test_the_same_file_gives_the_same_text(info: ModelInfo) -> None:
    assert model_card(info, ORIGIN) == model_card(info, ORIGIN)
    assert model_card(info, ORIGIN).endswith("\n") and "\n\n\n" not in model_card(info, ORIGIN)


def test_each_export_adds_a_line_and_keeps_those_of_other_files(info: ModelInfo) -> None:
    card = model_card(info, Origin())
    once = with_exports(card, {"model.onnx": "old", "model-waveform.onnx": "other"})
    assert once == card.rstrip() + "\n\n## Exports\n\n- `model.onnx`: old\n- `model-waveform.onnx`: other\n"
    twice = with_exports(once + "\n## Notes\n\nof the user\n", {"model.pte": "new", "model.onnx": "newer"})
    section = "- `model.onnx`: newer\n- `model-waveform.onnx`: other\n- `model.pte`: new\n"
    assert twice == card.rstrip() + f"\n\n## Exports\n\n{section}\n## Notes\n\nof the user\n"
    assert with_exports(twice, {}) == twice
