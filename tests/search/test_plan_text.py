"""What a planned search says of itself before it starts."""

import dataclasses

import pytest

from asc.config.space_file import load_space, parse_space
from asc.search.plan import SearchPlan, plan_search
from asc.search.plan_text import describe
from asc.search.settings import SearchSettings

RATES = """schema = 1
[parameters]
"front_end.window_s" = { choices = [0.03, 0.09, 0.12] }
"front_end.sample_rate_hz" = { choices = [16000, 32000, 44100] }
"""


def test_points_that_cannot_be_are_counted_and_one_of_them_is_explained(settings: SearchSettings) -> None:
    """At 4,096 DFT points, 0.12 s are too long at 44.1 kHz only: a ninth of the points."""
    plan = plan_search(settings, parse_space(RATES, source="test", name="rates"))
    assert plan.preview.infeasible_share == pytest.approx(1 / 9, abs=0.05)
    assert plan.preview.repairable_share == 1 - plan.preview.infeasible_share
    assert "window_s is 5292 samples" in (plan.preview.infeasible_example or "")
    assert "% have values that do not go together, such as: front_end.window_s is 5292" in describe(plan)
    assert plan.sample_rates_hz == (44_100, 16_000, 32_000), "the reference's first"


def test_a_space_without_such_points_says_nothing_of_them(quick: SearchPlan) -> None:
    assert quick.preview.infeasible_share == 0 and "go together" not in describe(quick)
    assert quick.sample_rates_hz == (44_100,)


def test_it_names_what_the_options_set_for_all_trials(settings: SearchSettings) -> None:
    given = dataclasses.replace(settings, cycles=3, epochs_per_cycle=2, cycle_growth=2, calibrate="temperature")
    (line,) = (line for line in describe(plan_search(given, load_space("quick"))).splitlines() if "all trials" in line)
    for said in ("cycles 3,", "epochs_per_cycle 2,", "batch_size 16,", "cycle_growth 2", "method temperature"):
        assert said in line
