"""Figures of the parameters: one for each that varies, axes for numbers, logarithms and names, one set per family."""

import math
from pathlib import Path

from told_search import ToldSearch

from asc.report.from_journal import search_of
from asc.report.importance import importance
from asc.report.parameter_figures import by_parameter, importance_bars, parallel
from asc.report.trials import Search

RATE = "schedule.learning_rate_max"


def searched(folder: Path, space: str, trials: int) -> Search:
    told = ToldSearch(folder, space=space)
    for number in range(trials):
        told.trial(1.0 + 0.1 * (number * 5 % 7))
    return search_of(told.entries)


def test_each_parameter_that_varies_has_a_figure_with_all_completed_trials(tmp_path: Path) -> None:
    search = searched(tmp_path / "s", "quick", 20)
    figures = {figure.title: figure for figure in by_parameter(search)}
    assert set(search.space.sampled) == set(figures)  # type: ignore[union-attr]
    points, best = figures[RATE].data
    assert sorted(points["x"]) == sorted(trial.values[RATE] for trial in search.completed)
    assert best["text"] == [search.completed[0].name] and best["y"] == [search.completed[0].log_loss]
    assert figures[RATE].layout["xaxis"]["type"] == "log"
    assert figures["architecture.time_strides"].layout["xaxis"]["type"] == "category"
    assert "type" not in figures["architecture.widths.0"].layout["xaxis"]


def test_parallel_coordinates_have_an_axis_for_each_parameter_and_one_for_the_log_loss(tmp_path: Path) -> None:
    search = searched(tmp_path / "s", "quick", 20)
    (figure,) = parallel(search)
    axes = {axis["label"]: axis for axis in figure.data[0]["dimensions"]}
    assert list(axes)[-1] == "log loss" and len(axes) == len(search.space.sampled) + 1  # type: ignore[union-attr]
    assert axes["log loss"]["values"] == [trial.log_loss for trial in search.completed]
    rates = [math.log10(float(trial.values[RATE])) for trial in search.completed]
    assert all(
        math.isclose(a, b, rel_tol=1e-3) for a, b in zip(axes["learning_rate_max"]["values"], rates, strict=True)
    )
    names = axes["time_strides"]
    shown = [names["ticktext"][place] for place in names["values"]]
    assert shown == [trial.values["architecture.time_strides"] for trial in search.completed]


def test_each_family_has_parallel_coordinates_of_its_own(tmp_path: Path) -> None:
    search = searched(tmp_path / "s", "families128", 24)
    counts = {figure.title.rpartition(" ")[2]: len(figure.data[0]["line"]["color"]) for figure in parallel(search)}
    assert len(counts) > 1
    for family, count in counts.items():
        assert count == sum(trial.values["architecture.family"] == family for trial in search.completed)


def test_the_bars_show_the_shares_of_importance(tmp_path: Path) -> None:
    found = importance(searched(tmp_path / "s", "quick", 20))
    assert found is not None
    bars = importance_bars(found).data[0]
    assert bars["y"][-1] == next(iter(found.shares)) and bars["x"] == sorted(bars["x"])


def test_one_trial_needs_no_figures_of_parameters(tmp_path: Path) -> None:
    search = searched(tmp_path / "s", "quick", 1)
    assert by_parameter(search) == [] and parallel(search) == []
