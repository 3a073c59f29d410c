"""The best points of earlier searches, as a new search takes them: which, in what order, and which not."""

import dataclasses
from pathlib import Path

import pytest
from told_search import ToldSearch

from asc.config.space_file import parse_space
from asc.errors import InputError
from asc.runs.events import RunStarted
from asc.runs.journal import Journal
from asc.runs.record import fold
from asc.search.plan import SearchPlan
from asc.search.repair import Budget
from asc.search.warm_start import WarmStart, warm_start
from asc.typed import Scalar


def planned(quick: SearchPlan, earlier: str, **settings: Scalar) -> SearchPlan:
    changed: dict[str, Scalar] = {"warm_start": earlier, "trials": 40, **settings}
    return dataclasses.replace(quick, settings=dataclasses.replace(quick.settings, **changed))  # type: ignore[arg-type]


def told(storage: Path, name: str, *log_losses: float, space: str = "quick") -> ToldSearch:
    """A search of these trials; the first one is the reference."""
    search = ToldSearch(storage / name, space=space)
    for number, log_loss in enumerate(log_losses):
        search.trial(log_loss, reference=number == 0)
    return search


def names(found: WarmStart) -> list[str]:
    return [point.name for point in found.points]


def test_the_best_five_of_each_search_take_turns(tmp_path: Path, quick: SearchPlan) -> None:
    night = told(tmp_path, "night", 3.0, 1.6, 1.2, 1.1, 1.5, 1.4, 1.3)
    night.trial(0.1, outcome="stopped")
    day = ToldSearch(tmp_path / "day")
    for log_loss in (0.7, 0.5):
        day.trial(log_loss, point={"schedule.learning_rate_max": log_loss / 200})
    found = warm_start(planned(quick, "night,day"), str(tmp_path), name="new")
    expected = ["night/t003", "day/t001", "night/t002", "day/t000", "night/t006", "night/t005", "night/t004"]
    assert names(found) == expected
    assert found.notes == (
        "warm start: the points of night/t003, day/t001, night/t002 and 4 more come after the reference",
    )
    drawn = fold(night.entries).trials["t003"].asked.point
    assert found.points[0].point == drawn and drawn is not None
    few = warm_start(planned(quick, "night, day", trials=5), str(tmp_path), name="new")
    assert names(few) == expected[:2], "at most half of the trials"
    assert warm_start(quick, str(tmp_path), name="new") == WarmStart()


def test_a_search_elsewhere_is_named_by_its_folder(tmp_path: Path, quick: SearchPlan) -> None:
    told(tmp_path / "other", "night", 3.0, 1.0)
    found = warm_start(planned(quick, str(tmp_path / "other" / "night")), str(tmp_path / "runs"), name="new")
    assert names(found) == ["night/t001"]


def test_what_cannot_be_tried_is_left_out_with_a_sentence(tmp_path: Path, quick: SearchPlan) -> None:
    search = told(tmp_path, "night", 1.5)
    search.trial(1.1, point={"schedule.learning_rate_max": 9e-3})
    search.trial(1.0, point={"architecture.cardinality": 1, "architecture.widths.0": 12})
    search.trial(1.2, point=fold(search.entries).trials["t002"].asked.point)
    told(tmp_path, "families", 2.0, *(1 + number / 100 for number in range(12)), space="families128")
    found = warm_start(planned(quick, "night,families"), str(tmp_path), name="new")
    assert names(found)[0] == "night/t002"
    said = "\n".join(found.notes)
    assert "night/t001 is not tried: its schedule.learning_rate_max lies outside the space quick" in said
    assert "night/t003 is not tried: here it is the same network and training as night/t002" in said
    assert "night/t000 is not tried: here it is the same network and training as the reference" in said
    assert "is not tried: its family is cp_mobile, and that of this search is resnet_se" in said


def test_points_are_repaired_to_the_new_budget_from_what_was_drawn(tmp_path: Path, quick: SearchPlan) -> None:
    search = ToldSearch(tmp_path / "small", budget_kb=8.0)
    wide: dict[str, Scalar] = {"architecture.widths.0": 24, "architecture.widths.1": 40, "compression.prune_ratio": 0.0}
    search.trial(1.0, point=wide)
    assert fold(search.entries).trials["t000"].asked.config["architecture.widths.0"] != 24
    (point,) = warm_start(planned(quick, "small"), str(tmp_path), name="new").points
    assert (point.point["architecture.widths.0"], point.point["architecture.widths.1"]) == (24, 40)
    tight = dataclasses.replace(planned(quick, "small"), budget=Budget(rule=quick.budget.rule, kilobytes=0.05))
    found = warm_start(tight, str(tmp_path), name="new")
    assert found.notes == ("small/t000 is not tried: it does not fit the budget at any width",)


def test_a_point_has_the_values_of_the_keys_of_the_new_space(tmp_path: Path, quick: SearchPlan) -> None:
    text = """schema = 1
[parameters]
"schedule.learning_rate_max" = { low = 1e-3, high = 1e-2 }
"schedule.batch_size" = { choices = [8, 16] }
"architecture.se_bottlenecks" = { choices = [[2, 4], [2, 8], [4, 4], [4, 8]] }
"""
    search = told(tmp_path, "night", 3.0, 1.0)
    other = dataclasses.replace(planned(quick, "night"), space=parse_space(text, source="test", name="other"))
    (point, *_) = warm_start(other, str(tmp_path), name="new").points
    config = fold(search.entries).trials["t001"].asked.config
    assert point.name == "night/t001" and point.point == {
        "schedule.learning_rate_max": config["schedule.learning_rate_max"],
        "schedule.batch_size": 16,
        "architecture.se_bottlenecks": str([config[f"architecture.se_bottlenecks.{stage}"] for stage in (0, 1)]),
    }


def test_runs_that_cannot_be_used_are_refused_in_one_sentence(tmp_path: Path, quick: SearchPlan) -> None:
    told(tmp_path, "night", 1.0)
    told(tmp_path, "begun").trial(1.0, outcome="stopped")
    training = Journal(tmp_path / "training" / "journal.jsonl")
    training.append(RunStarted(name="training", kind="train", settings={}))
    for given, sentence in {
        "night,nowhere": r"has no run nowhere: its runs are begun, night, training",
        "begun": r"--warm-start begun has no completed trial",
        "training": r"--warm-start training is a training, not a search",
        "night,new": r"--warm-start new is this search itself",
        " , ": r"--warm-start names no run",
        f"night,{tmp_path}/other/night": r"--warm-start has two runs called night",
    }.items():
        with pytest.raises(InputError, match=sentence):
            warm_start(planned(quick, given), str(tmp_path), name="new")
    with pytest.raises(InputError, match=r"--warm-start needs --trials 2 or more"):
        warm_start(planned(quick, "night", trials=1), str(tmp_path), name="new")


PORTFOLIO = """
[[portfolio]]
"architecture.widths.0" = 24
"architecture.cardinality" = 2

[[portfolio]]
"architecture.widths.0" = 8
"architecture.cardinality" = 1

[[portfolio]]
"architecture.widths.0" = 8
"architecture.cardinality" = 1
"""


def with_portfolio(plan: SearchPlan) -> SearchPlan:
    text = """schema = 1
[parameters]
"architecture.widths.0" = { low = 4, high = 64, step = 4 }
"architecture.cardinality" = { choices = [1, 2, 4, 8] }
"""
    return dataclasses.replace(plan, space=parse_space(text + PORTFOLIO, source="test", name="mine"))


def test_the_portfolio_of_the_space_comes_after_earlier_searches(tmp_path: Path, quick: SearchPlan) -> None:
    night = told(tmp_path, "night", 3.0)
    night.trial(1.0, point={"architecture.widths.0": 8, "architecture.cardinality": 1})
    plan = with_portfolio(dataclasses.replace(quick, settings=dataclasses.replace(quick.settings, trials=40)))
    found = warm_start(plan, str(tmp_path), name="new")
    assert names(found) == ["portfolio/1", "portfolio/2"]
    assert [dict(point.point) for point in found.points] == [
        {"architecture.widths.0": 24, "architecture.cardinality": 2},
        {"architecture.widths.0": 8, "architecture.cardinality": 1},
    ]
    assert found.notes == ("2 points of the portfolio of mine come after the reference",)
    after = warm_start(planned(plan, "night"), str(tmp_path), name="new")
    assert names(after) == ["night/t001", "portfolio/1"], "the second point comes to the same network as night/t001"
    assert after.notes[-1] == "1 point of the portfolio of mine comes next"
    for changed, expected in [
        ({"portfolio": 1}, ["portfolio/1"]),
        ({"portfolio": 0}, []),
        ({"trials": 3}, ["portfolio/1"]),
        ({"trials": 1}, []),
    ]:
        fewer = dataclasses.replace(plan, settings=dataclasses.replace(plan.settings, **changed))
        assert names(warm_start(fewer, str(tmp_path), name="new")) == expected, changed


def test_more_of_the_portfolio_than_can_be_tried_is_refused_in_one_sentence(tmp_path: Path, quick: SearchPlan) -> None:
    plan = with_portfolio(quick)
    for asked, changes, sentence in [
        (quick, {"portfolio": 1}, "--portfolio 1: the space quick has no portfolio: leave it out"),
        (plan, {"portfolio": 4}, "--portfolio 4 is more than mine has in its portfolio: give 3 or less"),
        (plan, {"portfolio": 3, "trials": 1}, "--portfolio 3 needs --trials 2 or more"),
    ]:
        changed = dataclasses.replace(asked, settings=dataclasses.replace(asked.settings, **changes))
        with pytest.raises(InputError, match=sentence):
            warm_start(changed, str(tmp_path), name="new")


def test_a_point_of_the_portfolio_that_no_width_fits_is_left_out(tmp_path: Path, quick: SearchPlan) -> None:
    plan = with_portfolio(dataclasses.replace(quick, settings=dataclasses.replace(quick.settings, trials=40)))
    tight = dataclasses.replace(plan, budget=Budget(rule=quick.budget.rule, kilobytes=0.05))
    assert warm_start(tight, str(tmp_path), name="new") == WarmStart()
