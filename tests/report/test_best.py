"""What the run's files say of the best network: read where it is right, left out where it is missing or another's."""

import dataclasses
import json
from pathlib import Path

import pytest
from told_search import ToldSearch

from asc.console.evaluation_text import About, tree
from asc.model_file.model_header import read_model_file
from asc.report.best import EVALUATION, best_files
from asc.report.best_figures import best_figures
from asc.report.from_journal import search_of
from asc.report.trials import Search
from asc.results import Evaluation, Examination
from asc.runs.events import RunEnded


@pytest.fixture
def search(tmp_path: Path, tiny_model: Path) -> Search:
    """A search whose best trial has a model file; that of the reference is damaged."""
    told = ToldSearch(tmp_path / "s")
    for name in (told.trial(1.5, reference=True), told.trial(1.0)):
        (told.folder / "trials" / name).mkdir(parents=True)
    (told.folder / "trials" / "t000" / "model.safetensors").write_bytes(b"x")
    (told.folder / "trials" / "t001" / "model.safetensors").write_bytes(tiny_model.read_bytes())
    return search_of(told.entries)


@pytest.fixture
def figures(tiny_model: Path) -> Evaluation:
    return read_model_file(tiny_model)[0].evaluation


def evaluated(folder: Path, examination: Examination, log_loss: float) -> None:
    """Write the evaluation of a network with this log loss."""
    changed = dataclasses.replace(examination.evaluation, log_loss=log_loss)
    about = About(
        model="m",
        data="d",
        device_irs=None,
        split="valid",
        optimistic=False,
        calibration=None,
        notes=(),
        published=None,
    )
    path = folder / EVALUATION
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree(dataclasses.replace(examination, evaluation=changed), about)))


def test_the_figures_are_those_in_the_model_files(search: Search, tmp_path: Path, figures: Evaluation) -> None:
    files = best_files(search, tmp_path / "s")
    assert files.best == figures and files.reference is None and files.matrix is None
    drawn = {figure.key: figure for figure in best_figures(files)}
    assert set(drawn) == {"classes", "devices"}
    (bars,) = drawn["classes"].data
    assert dict(zip(bars["y"], bars["x"], strict=True)) == {
        row.name: pytest.approx(row.accuracy, abs=1e-4) for row in figures.per_class
    }


def test_the_reference_stands_beside_the_best(search: Search, tmp_path: Path, figures: Evaluation) -> None:
    data = (tmp_path / "s" / "trials" / "t001" / "model.safetensors").read_bytes()
    (tmp_path / "s" / "trials" / "t000" / "model.safetensors").write_bytes(data)
    files = best_files(search, tmp_path / "s")
    assert files.reference == figures
    classes = next(iter(best_figures(files)))
    assert [trace["name"] for trace in classes.data] == ["reference", "best"]


def test_the_published_model_serves_where_the_trial_has_none(tmp_path: Path, tiny_model: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    told.trial(1.0)
    (told.folder / "best").mkdir()
    (told.folder / "best" / "model.safetensors").write_bytes(tiny_model.read_bytes())
    assert best_files(search_of(told.entries), told.folder).best is None, "best/ may be of an earlier best"
    told.journal.append(RunEnded(outcome="finished", best="t000"))
    assert best_files(search_of(told.entries), told.folder).best is not None


def test_the_matrix_and_the_bins_are_those_of_the_evaluation(
    search: Search, tmp_path: Path, figures: Evaluation, examination: Examination
) -> None:
    evaluated(tmp_path / "s", examination, figures.log_loss)
    matrix = best_files(search, tmp_path / "s").matrix
    assert matrix is not None and matrix.counts == examination.confusion and matrix.labels == examination.labels
    assert matrix.reliability == examination.reliability
    drawn = {figure.key: figure for figure in best_figures(best_files(search, tmp_path / "s"))}
    (heat,) = drawn["confusion"].data
    assert heat["z"][1][1] == pytest.approx(examination.confusion[1][1] / sum(examination.confusion[1]), abs=1e-4)
    assert sum(int(text or 0) for row in heat["text"] for text in row) == examination.evaluation.clips
    bins = [row for row in examination.reliability if row.clips]
    assert drawn["reliability"].data[0]["y"] == [pytest.approx(row.accuracy, abs=1e-3) for row in bins]


def test_an_evaluation_of_another_network_or_a_damaged_one_is_left_out(
    search: Search, tmp_path: Path, figures: Evaluation, examination: Examination
) -> None:
    evaluated(tmp_path / "s", examination, figures.log_loss + 0.1)
    assert best_files(search, tmp_path / "s").matrix is None
    evaluated(tmp_path / "s", examination, figures.log_loss)
    path = tmp_path / "s" / EVALUATION
    for damaged in (
        path.read_text()[:-9],
        "[]",
        path.read_text().replace('"counts": [[', '"counts": [[7, '),
        path.read_text().replace('"counts": [[', '"counts": [["<b>", '),
    ):
        path.write_text(damaged)
        assert best_files(search, tmp_path / "s").matrix is None, damaged[:40]


def test_with_finals_the_figures_are_those_of_the_network_in_best(
    tmp_path: Path, tiny_model: Path, figures: Evaluation, examination: Examination
) -> None:
    told = ToldSearch(tmp_path / "s")
    first, second = told.trial(1.0), told.trial(1.1)
    told.chosen(first, second)
    told.final(first, 0.8, unseen=1.2)
    shipped = told.final(second, 0.9, unseen=1.1)
    (told.folder / "best").mkdir()
    (told.folder / "best" / "model.safetensors").write_bytes(tiny_model.read_bytes())
    evaluated(told.folder, examination, figures.log_loss)
    assert best_files(search_of(told.entries), told.folder).best is None, "best/ may be of an earlier best"
    told.journal.append(RunEnded(outcome="finished", best=shipped))
    files = best_files(search_of(told.entries), told.folder)
    assert files.best == figures and files.matrix is not None and files.matrix.counts == examination.confusion
