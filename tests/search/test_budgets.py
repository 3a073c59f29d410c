"""The samplers of several budgets: each learns from every network that is within its budget, and from no other."""

import random
from pathlib import Path

import pytest
from optuna.trial import TrialState
from told_search import ToldSearch

from asc.runs.events import TrialAsked
from asc.runs.record import fold
from asc.search.budgets import BudgetSamplers, budgets_of
from asc.search.sampler import Sampler, Told


@pytest.fixture
def asked(tmp_path: Path) -> list[TrialAsked]:
    """Trials of the space "quick" within 64 KB; in each the point is that of the network."""
    told = ToldSearch(tmp_path / "s", budget_kb=64.0)
    for number in range(12):
        told.trial(1.0, point={"schedule.learning_rate_max": 1e-3 * (1 + number / 4)})
    found = [trial.asked for trial in fold(told.entries).trials.values()]
    return [one for one in found if not one.repaired]


def points(samplers: BudgetSamplers) -> list[list[tuple[TrialState, object]]]:
    """State and learning rate of the points that each sampler knows."""
    known = [sampler for sampler in samplers._samplers if isinstance(sampler, Sampler)]
    assert len(known) == 3
    return [
        [(trial.state, trial.params["schedule.learning_rate_max"]) for trial in sampler.study().trials]
        for sampler in known
    ]


def test_a_network_counts_for_every_budget_that_holds_it(tmp_path: Path, asked: list[TrialAsked]) -> None:
    told = ToldSearch(tmp_path / "t", budget_kb=64.0, budgets_kb="24,32,64")
    samplers = BudgetSamplers(told.space, told.settings, budgets_of(told.settings, told.budget))
    sizes = sorted(asked, key=lambda one: one.nonzero_bytes)
    assert sizes[0].nonzero_bytes <= 24 * 1024 and sizes[-1].nonzero_bytes > 32 * 1024
    for one in asked:
        assert one.point is not None
        samplers.entered(one, 0, samplers.given(0, one.point))
        samplers.tell(one.trial, Told(log_losses={1: 1.0}), final=False)
        samplers.tell(one.trial, Told(value=1.0))
    for budget, known in zip((64, 32, 24), points(samplers), strict=True):
        held = [one for one in asked if one.nonzero_bytes <= budget * 1024]
        assert 0 < len(held) == len(known)
        assert [rate for _, rate in known] == [one.config["schedule.learning_rate_max"] for one in held]
        assert {state for state, _ in known} == {TrialState.COMPLETE}


def test_a_network_that_left_the_space_when_it_was_narrowed_counts_for_its_own_budget_alone(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "t", budget_kb=64.0, budgets_kb="8,32,64")
    samplers = BudgetSamplers(told.space, told.settings, budgets_of(told.settings, told.budget))
    small = ToldSearch(tmp_path / "s", budget_kb=8.0)
    for _ in range(8):
        small.trial(1.0)
    rng = random.Random(1)
    for trial in fold(small.entries).trials.values():
        asked = trial.asked
        assert asked.point is not None
        samplers.entered(asked, 2, samplers.drawn(2, asked.point))
        samplers.tell(asked.trial, Told(value=rng.random()))
    largest, _, own = points(samplers)
    on_grid = [
        trial
        for trial in fold(small.entries).trials.values()
        if int(trial.asked.config["architecture.widths.0"]) % 4 == 0
        and int(trial.asked.config["architecture.widths.1"]) % 8 == 0
    ]
    assert len(own) == 8 and len(largest) == len(on_grid) < 8


def test_each_budget_draws_points_of_its_own(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "t", budget_kb=64.0, budgets_kb="8,32,64")
    samplers = BudgetSamplers(told.space, told.settings, budgets_of(told.settings, told.budget))
    drawn = [samplers.ask(number)[1] for number in range(3)]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]
    assert drawn[0] == Sampler(told.space, seed=told.settings.seed, trials=told.settings.trials).ask()[1]
