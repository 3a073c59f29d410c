"""Pareto fronts and the order within them, against Optuna's best trials and a plain definition."""

import numpy as np
import optuna
import pytest

from asc.search.fronts import front, ranked


def drawn(trials: int, seed: int, *, levels: int | None = None) -> dict[str, tuple[float, ...]]:
    """Random figures; with few levels many of them are equal."""
    rng = np.random.default_rng(seed)
    values = rng.random((trials, 3)) if levels is None else rng.integers(0, levels, (trials, 3)) / levels
    return {f"t{number}": tuple(map(float, row)) for number, row in enumerate(values)}


@pytest.mark.parametrize("levels", [None, 4])
def test_the_front_is_that_of_optuna(levels: int | None) -> None:
    figures = drawn(60, 1, levels=levels)
    study = optuna.create_study(directions=["minimize"] * 3)
    for values in figures.values():
        study.add_trial(optuna.trial.create_trial(values=values))
    assert front(figures) == [f"t{trial.number}" for trial in study.best_trials]
    assert set(ranked(figures)[: len(front(figures))]) == set(front(figures))


@pytest.mark.parametrize("levels", [None, 4])
def test_a_trial_comes_after_all_that_dominate_it(levels: int | None) -> None:
    figures = drawn(80, 2, levels=levels)
    order = ranked(figures)
    assert sorted(order) == sorted(figures)
    for place, name in enumerate(order):
        for later in order[place + 1 :]:
            dominates = figures[later] != figures[name] and all(
                one <= other for one, other in zip(figures[later], figures[name], strict=True)
            )
            assert not dominates, (later, name)


def test_within_a_front_the_farthest_comes_next_whatever_the_units() -> None:
    figures = {
        "middle": (1.0, 50_000.0),
        "best": (0.5, 100_000.0),
        "near the best": (0.52, 98_000.0),
        "smallest": (1.5, 1_000.0),
    }
    assert ranked(figures) == ["best", "smallest", "middle", "near the best"]


def test_one_figure_is_a_plain_order_and_nothing_has_no_front() -> None:
    figures = {"a": (2.0,), "b": (1.0,), "c": (3.0,)}
    assert ranked(figures) == ["b", "a", "c"] and front(figures) == ["b"]
    assert ranked({}) == [] and front({}) == []
