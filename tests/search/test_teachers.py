"""The teachers of a search: the best trials, and the best one widened to a size beyond the budget."""

import dataclasses
from pathlib import Path

import pytest
from conducted import conductor, finished

from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.errors import InputError
from asc.search import teachers
from asc.search.repair import widened
from asc.search.settings import SearchSettings
from asc.size.law import cost
from asc.size.rules import counted_bytes, rule


@pytest.mark.parametrize("recipe", ["qat_8b", "16b_prune", "cp_mobile_dcase2024"])
@pytest.mark.parametrize("kilobytes", [400.0, 1000.0])
def test_a_network_is_widened_to_nearly_the_size_that_was_asked_for(recipe: str, kilobytes: float) -> None:
    experiment, by = load_experiment(recipe), rule("dcase2021")
    wide = widened(experiment, by, kilobytes)
    taken = counted_bytes(by, cost(wide).stored) / by.unit_bytes
    assert 0.8 * kilobytes < taken <= kilobytes
    others = {key: value for key, value in wide.flat().items() if experiment.flat()[key] != value}
    assert others and all("width" in key or "base_channels" in key for key in others)


@pytest.mark.parametrize(
    ("recipe", "kilobytes", "sentence"),
    [
        (
            "qat_8b",
            131.0,
            "--teacher-kb 131 leaves no room for a network wider than those of --budget-kb 128",
        ),
        ("cp_mobile_dcase2024", 3e6, r"--teacher-kb 3e\+06 is too large for the reference: "),
    ],
)
def test_a_size_at_which_no_network_is_larger_is_refused(
    taught: SearchSettings, recipe: str, kilobytes: float, sentence: str
) -> None:
    reference, by = load_experiment(recipe), rule("dcase2021")
    teachers.check(taught, reference, by)
    with pytest.raises(InputError, match=sentence):
        teachers.check(dataclasses.replace(taught, teacher_kb=kilobytes), reference, by)


def test_the_teachers_are_the_best_networks_and_those_that_were_trained_for_it(
    tmp_path: Path, taught: SearchSettings
) -> None:
    lead = conductor(tmp_path, taught)
    finished(lead)
    by = rule("dcase2021")
    best = [trial.asked.trial for trial in lead.record.completed()[:2]]
    found = teachers.wanted(lead.record, taught, by, tmp_path)
    names = [*best, "teacher-seed8", "teacher-seed9"]
    assert {path: one.name for path, one in found.items()} == {
        tmp_path / "trials" / name / "model.safetensors": name for name in names
    }
    sizes = {one.name: one.kilobytes or 0.0 for one in found.values()}
    assert sizes[best[0]] <= 128 < 400 < sizes["teacher-seed8"] == sizes["teacher-seed9"] <= 512
    teacher = lead.record.teachers["teacher-seed8"]
    experiment = Experiment.from_flat(teacher.asked.config)
    assert teacher.asked.predicted == cost(experiment).stored and experiment.seed == 8
    without = dataclasses.replace(taught, teacher_kb=None)
    assert teachers.to_come(lead.record, without) is None
