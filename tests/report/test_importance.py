"""Importance by PED-ANOVA: what decides the log loss comes first, and small searches get no answer."""

import math
from pathlib import Path

from told_search import ToldSearch

from asc.report.from_journal import search_of
from asc.report.importance import FEWEST_TRIALS, importance

RATE = "schedule.learning_rate_max"


def test_the_parameter_that_decides_the_log_loss_comes_first(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    for number in range(60):
        rate = 0.001 * 6 ** (number * 37 % 60 / 59)  # all over the range, in a mixed order
        told.trial(1 + math.log(rate / 0.001), point={RATE: rate})
    found = importance(search_of(told.entries))
    assert found is not None and found.trials == 60 and found.best_share == 0.1
    assert next(iter(found.shares)) == RATE and found.shares[RATE] > 0.5
    assert math.isclose(sum(found.shares.values()), 1) and set(found.shares) == set(told.space.sampled)


def test_points_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    told.trial(1.0, point={RATE: 0.009})  # outside the space
    for number in range(FEWEST_TRIALS - 1):
        told.trial(1.0 + number)
    told.trial(3.0, outcome="stopped")
    assert importance(search_of(told.entries)) is None, "nine points are too few"
    told.trial(2.0)
    found = importance(search_of(told.entries))
    assert found is not None and (found.trials, found.best_share) == (10, 0.5)


def test_parameters_of_several_families_are_compared(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s", space="families128")
    for number in range(30):
        told.trial(1.0 + number / 10)
    found = importance(search_of(told.entries))
    assert found is not None and "architecture.family" in found.shares
    assert {key.split(".")[1] for key in found.shares} >= {"cp_mobile", "bc_resnet"}
