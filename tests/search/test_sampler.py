"""The sampler with real Optuna: reproducible, resumable, and told every outcome correctly."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from asc.config.space import FAMILY, Choice, Space
from asc.config.space_file import load_space
from asc.search.sampler import FamilySampler, Sampler, Told, sampler_of
from asc.typed import Scalar


def value(point: dict[str, Scalar]) -> float:
    return float(abs(int(point["architecture.widths.0"]) - 32)) + float(abs(int(point["architecture.widths.1"]) - 64))


def run(sampler: Sampler, count: int) -> list[dict[str, Scalar]]:
    points = []
    for _ in range(count):
        handle, point = sampler.ask()
        sampler.tell(handle, Told(value=value(point)))
        points.append(point)
    return points


def replayed(told: list[tuple[dict[str, Scalar], Told]]) -> Sampler:
    sampler = Sampler(space(), seed=3, trials=30)
    for point, outcome in told:
        sampler.skip(point)
        sampler.tell(sampler.begin(point), outcome)
    return sampler


def space() -> Space:
    return load_space("idlab128")


def test_equal_seeds_give_equal_points_and_different_seeds_do_not() -> None:
    first, again, other = (run(Sampler(space(), seed=seed, trials=30), 12) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_replayed_sampler_continues_like_an_uninterrupted_one() -> None:
    whole = run(Sampler(space(), seed=3, trials=30), 20)
    resumed = replayed([(point, Told(value=value(point))) for point in whole[:9]])
    assert run(resumed, 11) == whole[9:]


def test_a_long_history_is_cut_to_the_best_and_the_latest_also_after_a_resume(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unbounded = run(Sampler(space(), seed=3, trials=30), 60)
    monkeypatch.setattr("asc.search.sampler.LONGEST", 30)
    monkeypatch.setattr("asc.search.sampler.SHORTEST", 20)
    whole = Sampler(space(), seed=3, trials=30)
    points = run(whole, 60)
    assert points[:30] == unbounded[:30] and points[30:] != unbounded[30:]
    for cut in (29, 30, 45):
        resumed = replayed([(point, Told(value=value(point))) for point in points[:cut]])
        assert run(resumed, 60 - cut) == points[cut:], f"cut off after point {cut}"
        kept = [trial.params for trial in resumed.study().trials]
        assert 20 <= len(kept) < 30
        best = sorted(points, key=value)[:4]
        assert all(point in kept for point in [*best, *points[-16:]])


def test_unfinished_points_are_kept_when_the_history_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asc.search.sampler.LONGEST", 6)
    monkeypatch.setattr("asc.search.sampler.SHORTEST", 4)
    sampler = Sampler(space(), seed=0, trials=30)
    handle, point = sampler.ask()
    run(sampler, 6)
    assert [t.params for t in sampler.study().trials if t.state == TrialState.RUNNING] == [point]
    sampler.tell(handle, Told(log_losses={1: 2.0}))
    assert {t.state for t in sampler.study().trials} == {TrialState.COMPLETE, TrialState.PRUNED}


@pytest.mark.parametrize("kind", [space, lambda: load_space("families128")])
def test_a_later_result_of_a_point_replaces_the_earlier_one(kind: Callable[[], Space]) -> None:
    sampler = sampler_of(kind(), seed=0, trials=30)
    handles = [sampler.ask()[0] for _ in range(2)]
    sampler.tell(handles[0], Told(log_losses={1: 2.0}), final=False)
    sampler.tell(handles[1], Told(log_losses={1: 1.0}), final=False)
    sampler.ask()
    inner = sampler._choice if isinstance(sampler, FamilySampler) else sampler

    def states() -> list[tuple[TrialState, dict[int, float]]]:
        return [(trial.state, trial.intermediate_values) for trial in inner.study().trials[:2]]

    assert states() == [(TrialState.PRUNED, {1: 2.0}), (TrialState.PRUNED, {1: 1.0})]
    sampler.tell(handles[1], Told(log_losses={1: 1.0, 2: 0.5}), final=False)
    sampler.tell(handles[0], Told(usable=False))
    assert states()[1] == (TrialState.PRUNED, {1: 1.0, 2: 0.5})
    sampler.tell(handles[1], Told(value=0.4, log_losses={1: 1.0, 2: 0.5, 3: 0.4}))
    assert states()[0] == (TrialState.PRUNED, {1: 2.0}), "that it failed later says nothing about it"
    assert states()[1][0] == TrialState.COMPLETE and inner.study().trials[1].value == 0.4
    assert len([t for t in inner.study().trials if t.state == TrialState.RUNNING]) == 1


def test_the_result_of_a_paused_point_comes_in_after_the_history_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asc.search.sampler.LONGEST", 6)
    monkeypatch.setattr("asc.search.sampler.SHORTEST", 4)
    sampler = Sampler(space(), seed=0, trials=30)
    handle, point = sampler.ask()
    sampler.tell(handle, Told(log_losses={1: 2.0}), final=False)
    run(sampler, 5)
    assert point not in [trial.params for trial in sampler.study().trials]
    sampler.tell(handle, Told(value=0.0))
    assert [trial.value for trial in sampler.study().trials if trial.params == point] == [0.0]


def test_a_suggestion_is_that_of_optunas_own_study_with_the_same_trials() -> None:
    """Completed, stopped, running and paused ones; the sampler's study shows them to TPE without Optuna's copies."""
    sampler = Sampler(space(), seed=5, trials=30)
    for number in range(16):
        handle, point = sampler.ask()
        curve = {1: value(point) + 1, 2: value(point)}
        told = Told(log_losses={1: curve[1]}) if number % 3 else Told(value=value(point), log_losses=curve)
        if number % 5:
            sampler.tell(handle, told, final=number % 4 != 0)
    study = optuna.create_study()
    study.add_trials(sampler.study().trials)
    study.sampler = sampler.model()
    assert sampler.ask()[1] == study.ask(study.trials[0].distributions).params


def test_tpe_finds_better_points_than_its_random_first_ones() -> None:
    points = run(Sampler(space(), seed=0, trials=60), 60)
    start, end = points[:10], points[-20:]
    assert sum(map(value, end)) / len(end) < 0.6 * sum(map(value, start)) / len(start)


def test_outcomes_become_optuna_states() -> None:
    assert Told(value=1.0).state == TrialState.COMPLETE
    assert Told(log_losses={3: 1.0}).state == TrialState.PRUNED
    assert Told().state == TrialState.PRUNED
    assert Told(usable=False, value=1.0).state == TrialState.FAIL


def families() -> Space:
    """Two families of the shipped space."""
    space, names = load_space("families128"), ("resnet_se", "cp_mobile")
    return replace(
        space,
        parameters={**space.parameters, FAMILY: Choice(options=names)},
        families={name: space.families[name] for name in names},
    )


def loss_of(point: Mapping[str, Scalar]) -> float:
    """CP-Mobile is better, with 40 base channels and an expansion of 3."""
    if point["architecture.family"] == "resnet_se":
        return 1 + abs(int(point["architecture.widths.0"]) - 32) / 32
    off = abs(int(point["architecture.cp_mobile.base_channels"]) - 40) / 40
    return off + (point["architecture.cp_mobile.expansion_rate"] != 3.0)


def test_the_keys_of_a_family_are_not_sampled_at_random() -> None:
    sampler, points = sampler_of(families(), seed=1, trials=60), []
    for _ in range(60):
        handle, point = sampler.ask()
        sampler.tell(handle, Told(value=loss_of(point)))
        points.append(point)
    late = points[30:]
    better = [point for point in late if point["architecture.family"] == "cp_mobile"]
    assert len(better) > 20, "half of them would be chance"
    near = [p for p in better if loss_of(p) <= 0.2]
    assert len(near) > len(better) / 2, "3 of 32 would be chance"


def test_the_better_family_gets_most_of_the_late_points_and_the_other_a_fair_start() -> None:
    for seed in (3, 4):
        sampler = sampler_of(families(), seed=seed, trials=60)
        points = []
        for _ in range(60):
            handle, point = sampler.ask()
            sampler.tell(handle, Told(value=loss_of(point)))
            points.append(point)
        drawn = [point["architecture.family"] for point in points]
        assert drawn[-20:].count("cp_mobile") >= 16
        assert drawn[:10].count("resnet_se") >= 2 and drawn[:10].count("cp_mobile") >= 2


def test_a_replayed_sampler_of_families_continues_like_an_uninterrupted_one() -> None:
    def run_of(sampler: Sampler | FamilySampler, count: int) -> list[dict[str, Scalar]]:
        found = []
        for _ in range(count):
            handle, point = sampler.ask()
            sampler.tell(handle, Told(value=loss_of(point)))
            found.append(point)
        return found

    whole = run_of(sampler_of(families(), seed=2, trials=30), 20)
    resumed = sampler_of(families(), seed=2, trials=30)
    for point in whole[:11]:
        resumed.skip(point)
        resumed.tell(resumed.begin(point), Told(value=loss_of(point)))
    assert run_of(resumed, 9) == whole[11:]


def cost_of(point: Mapping[str, Scalar]) -> float:
    """The other objective: it is low where the widths are small, and the value is low where they are 32 and 64."""
    return float(int(point["architecture.widths.0"]) + int(point["architecture.widths.1"]))


def spread_over(front: list[tuple[float, float]]) -> float:
    """The area that points dominate up to (150, 150), the hypervolume."""
    area, left = 0.0, 150.0
    for value_found, cost in sorted(front):
        area += max(0.0, left - min(cost, left)) * (150.0 - value_found)
        left = min(left, cost)
    return area


def searched(sampler: Sampler, count: int) -> list[tuple[float, float]]:
    """The figures of `count` points. Two thirds of them are stopped after an epoch, and a few diverge."""
    found = []
    for number in range(count):
        handle, point = sampler.ask()
        figures = value({**point}), cost_of(point)
        others = figures[1:]
        if number % 11 == 5:
            sampler.tell(handle, Told(others=others))
        elif number % 3:
            sampler.tell(handle, Told(log_losses={1: figures[0] + 20}, others=others), final=False)
            sampler.tell(handle, Told(log_losses={1: figures[0] + 20}, others=others))
        else:
            sampler.tell(handle, Told(value=figures[0], log_losses={1: figures[0] + 20}, others=others))
        found.append(figures)
    return found


def test_with_two_objectives_the_points_gather_along_the_front() -> None:
    modelled = [searched(Sampler(space(), seed=seed, trials=60, objectives=2), 60) for seed in range(5)]
    drawn = [searched(Sampler(space(), seed=seed, trials=1000, objectives=2), 10) for seed in range(30)]
    random = [[figures for part in drawn[6 * seed : 6 * seed + 6] for figures in part] for seed in range(5)]
    areas = [[spread_over(found) for found in kind] for kind in (modelled, random)]
    assert sum(areas[0]) > sum(areas[1]), areas


def test_a_replayed_sampler_of_two_objectives_continues_like_an_uninterrupted_one() -> None:
    def told(point: Mapping[str, Scalar], number: int) -> Told:
        others = (cost_of(point),)
        return (
            Told(value=value({**point}), others=others)
            if number % 2
            else Told(log_losses={1: value({**point})}, others=others)
        )

    whole, points = Sampler(space(), seed=3, trials=30, objectives=2), []
    for number in range(24):
        handle, point = whole.ask()
        whole.tell(handle, told(point, number))
        points.append(point)
    resumed = Sampler(space(), seed=3, trials=30, objectives=2)
    for number, point in enumerate(points[:14]):
        resumed.skip(point)
        resumed.tell(resumed.begin(point), told(point, number))
    for number in range(14, 24):
        handle, point = resumed.ask()
        assert point == points[number]
        resumed.tell(handle, told(point, number))


def test_with_two_objectives_a_diverged_trial_is_the_worst_and_a_stopped_one_has_its_last_log_loss() -> None:
    sampler = Sampler(space(), seed=3, trials=30, objectives=2)
    handles = [sampler.ask()[0] for _ in range(4)]
    sampler.tell(handles[0], Told(value=1.0, others=(50.0,)))
    sampler.tell(handles[1], Told(log_losses={2: 1.5, 4: 1.2}, others=(20.0,)))
    sampler.tell(handles[2], Told(others=(10.0,)))
    sampler.tell(handles[3], Told(usable=False, others=(10.0,)))
    trials = sampler.study().trials
    assert [trial.values for trial in trials] == [[1.0, 50.0], [1.2, 20.0], [10.0, 50.0]]
    assert all(trial.state == TrialState.COMPLETE for trial in trials)


def test_a_long_history_of_two_objectives_keeps_the_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asc.search.sampler.LONGEST", 30)
    monkeypatch.setattr("asc.search.sampler.SHORTEST", 20)
    sampler = Sampler(space(), seed=3, trials=30, objectives=2)
    figures = searched(sampler, 29)
    before = {tuple(trial.values) for trial in sampler.study().best_trials}
    handle, point = sampler.ask()
    sampler.tell(handle, Told(value=1e6, others=(1e6,)))
    kept = sampler.study().trials
    assert len(kept) == 20 and figures
    best = sorted(before)[:1] + sorted(before, key=lambda one: one[1])[:1]
    assert {tuple(one) for one in best} <= {tuple(trial.values) for trial in kept}, "the ends of the front stay"
