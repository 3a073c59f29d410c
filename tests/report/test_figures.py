"""The figures hold the journal's numbers: the front, the budget, the curves, and the best value reached."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from told_search import EPOCHS, EPOCHS_PER_CYCLE, ToldSearch

from asc.report.figures import COSTS, VALUES, curves, pareto, reached, tradeoff
from asc.report.from_journal import search_of
from asc.report.page_tables import budgets
from asc.report.plot import plain, rounded
from asc.report.trials import Search


@pytest.fixture
def search(tmp_path: Path) -> Search:
    told = ToldSearch(tmp_path / "s", max_mmacs_per_s=900.0)
    told.trial(1.2, reference=True)
    for number in range(12):
        told.trial(0.8 + 0.1 * (number * 5 % 12), accuracy=0.3 + 0.02 * (number * 7 % 12))
    told.trial(2.0, outcome="stopped")
    told.trial(2.5, outcome=None)
    return search_of(told.entries)


def traces(figure: Any) -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in figure.data}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("cost", COSTS)
def test_the_front_is_what_no_other_trial_beats(search: Search, cost: Any, value: Any) -> None:
    sign = 1 if value == "log_loss" else -1
    points = [(getattr(trial, cost), sign * getattr(trial, value), trial.name) for trial in search.completed]
    expected = {name for x, y, name in points if not any(a <= x and b <= y and (a, b) != (x, y) for a, b, _ in points)}
    assert {trial.name for trial in pareto(search.completed, cost, value)} == expected
    figure = tradeoff(search, cost, value)
    assert set(traces(figure)["front"]["text"]) == expected
    assert sorted(traces(figure)["completed"]["y"]) == sorted(rounded(getattr(t, value)) for t in search.completed)  # type: ignore[type-var]
    assert [shape["x0"] for shape in figure.layout["shapes"]] == [128 if cost == "kilobytes" else 900]
    assert traces(figure)["reference"]["text"] == ["t000"]


def test_several_budgets_have_a_line_each_and_a_best_network_each(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s", budget_kb=64.0, budgets_kb="1,32,64")
    for log_loss, width in ((1.0, 24), (1.2, 8)):
        told.trial(log_loss, point={"architecture.widths.0": width, "architecture.widths.1": 2 * width})
    several = search_of(told.entries)
    layout = tradeoff(several, "kilobytes", "log_loss").layout
    assert [(one["x"], one["text"]) for one in layout["annotations"]] == [(1, "1"), (32, "32"), (64, "budget 64")]
    assert [one["x0"] for one in layout["shapes"]] == [1, 32, 64]
    assert "shapes" not in tradeoff(several, "mmacs_per_s", "log_loss").layout
    large, small = several.completed
    assert small.kilobytes <= 32 < large.kilobytes
    shown = re.sub(r"<[^>]+>", " ", budgets(several)).split()
    assert shown[-5:] == ["64", large.name, "1.0000", "60.0%", f"{large.kilobytes:.2f}"]
    assert shown[-10:-5] == ["32", small.name, "1.2000", "60.0%", f"{small.kilobytes:.2f}"] and shown[-11] == "1"


def test_the_curves_show_every_epoch_and_where_trials_stopped(search: Search) -> None:
    figure = curves(search)
    epochs = sum(x is not None for trace in figure.data for x in trace["x"] if trace["mode"] == "lines")
    assert epochs == search.epochs
    stopped = traces(figure)["stopped here"]
    assert (stopped["x"], stopped["y"], stopped["text"]) == ([EPOCHS_PER_CYCLE], [2.0], ["t013"])
    assert {shape["x0"] for shape in figure.layout["shapes"]} == {EPOCHS_PER_CYCLE, EPOCHS}
    assert f"best ({search.completed[0].name})" in traces(figure) and "reference (t000)" in traces(figure)
    json.dumps(figure.tree(), allow_nan=False)


def test_the_curves_of_a_long_search_are_thinned_but_keep_the_ends_of_cycles(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asc.report.figures._MOST_POINTS", 20)  # 83 epochs: every fifth is drawn
    others = traces(curves(search))["completed"]
    shown = [trial for trial in search.completed[1:] if not trial.reference]
    assert [x for x in others["x"] if x is not None] == [EPOCHS_PER_CYCLE, 5, EPOCHS] * len(shown)
    assert [y for x, y in zip(others["x"], others["y"], strict=True) if x == EPOCHS] == [
        rounded(trial.curve[EPOCHS]) for trial in shown
    ]


def test_each_search_has_a_line_that_goes_on_to_its_end(search: Search, tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "other", name="<b>other</b>")
    told.trial(1.0)
    told.trial(1.5)
    first, second = reached([search, search_of(told.entries)]).data
    assert first["y"][-1] == search.completed[0].log_loss and first["x"][-1] == search.epochs
    assert (second["x"], second["y"]) == ([EPOCHS, 2 * EPOCHS], [1.0, 1.0])
    assert second["name"] == "&lt;b&gt;other&lt;/b&gt;"


def test_texts_and_numbers_are_made_safe_and_short() -> None:
    assert plain('<a href="x">&') == '&lt;a href="x"&gt;&amp;'
    assert rounded(0.123456) == 0.1235 and rounded(123456.0) == 123500.0 and rounded(None) is None
