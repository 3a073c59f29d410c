"""The sampler over real Optuna: reproducible, resumable, and told the truth."""

from optuna.trial import TrialState

from asc.search.sampler import Sampler, Told
from asc.space import Space, load_space
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


def space() -> Space:
    return load_space("idlab128")


def test_equal_seeds_give_equal_points_and_others_do_not() -> None:
    first, again, other = (run(Sampler(space(), seed=seed, trials=30), 12) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_replayed_sampler_goes_on_as_the_whole_one_does() -> None:
    whole = run(Sampler(space(), seed=3, trials=30), 20)
    resumed = Sampler(space(), seed=3, trials=30)
    for point in whole[:9]:
        resumed.skip()
        resumed.tell(resumed.begin(point), Told(value=value(point)))
    assert run(resumed, 11) == whole[9:]


def test_tpe_finds_better_points_than_its_random_start() -> None:
    points = run(Sampler(space(), seed=0, trials=60), 60)
    start, end = points[:10], points[-20:]
    assert sum(map(value, end)) / len(end) < 0.6 * sum(map(value, start)) / len(start)


def test_outcomes_are_told_as_what_they_are() -> None:
    assert Told(value=1.0).state == TrialState.COMPLETE
    assert Told(log_losses={3: 1.0}).state == TrialState.PRUNED
    assert Told().state == TrialState.PRUNED
    assert Told(usable=False, value=1.0).state == TrialState.FAIL
