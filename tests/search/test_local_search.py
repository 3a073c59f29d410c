"""Local search: its points lie in every space, near the incumbent, are new, and come in the share that is asked for."""

import math
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from asc.config.space import FAMILY, Choice, FloatRange, IntRange, Parameter, Space, contains
from asc.config.space_file import load_space
from asc.search.local_search import LocalSearch
from asc.search.sampler import LOCAL, Sampler, Told, sampler_of
from asc.typed import Scalar

SPACES = sorted(path.stem for path in Path("search_spaces").glob("*.toml"))
ALWAYS = LocalSearch(share=1.0, after=1)
KINDS: dict[str, Parameter] = {
    "whole": IntRange(low=3, high=20, step=4),
    "one": IntRange(low=5, high=5),
    "plain": FloatRange(low=-1.0, high=2.0),
    "log": FloatRange(low=1e-4, high=1e-1, log=True),
    "list": Choice(options=((1, 2), (2, 1))),
    "flag": Choice(options=(True, False)),
}


def holds(space: Space, point: Mapping[str, Scalar]) -> bool:
    values = space.values(point)
    return values.keys() >= space.sampled.keys() and all(contains(p, values[k]) for k, p in space.sampled.items())


@pytest.mark.parametrize("name", SPACES)
def test_points_near_points_of_the_shipped_spaces_lie_in_them(name: str) -> None:
    rng = random.Random(name)
    for space in load_space(name).each():
        for _ in range(50):
            found = ALWAYS.near(space.sampled, space.sample(rng), rng)
            assert holds(space, found)
            assert space.values(found), "the values can be read back"


def test_each_kind_of_parameter_moves_within_its_range_and_reaches_its_ends() -> None:
    rng, space = random.Random(0), Space(name="kinds", text="", parameters=KINDS)
    found = [LocalSearch(changed=1.0, sigma=0.5).near(KINDS, space.sample(rng), rng) for _ in range(500)]
    assert all(holds(space, point) for point in found)
    assert {point["whole"] for point in found} == {3, 7, 11, 15, 19}
    assert {point["one"] for point in found} == {5}
    assert {point["list"] for point in found} == {"[1, 2]", "[2, 1]"} and {p["flag"] for p in found} == {True, False}
    for key, low, high in (("plain", -1.0, 2.0), ("log", 1e-4, 1e-1)):
        values = [float(point[key]) for point in found]
        assert (min(values), max(values)) == (low, high)


def test_a_step_is_as_long_as_said_and_as_many_values_change_as_said() -> None:
    rng, centre = random.Random(1), {"plain": 0.5, "log": 1e-2}
    parameters = {key: KINDS[key] for key in centre}
    found = [LocalSearch(changed=0.5, sigma=0.05).near(parameters, centre, rng) for _ in range(4000)]
    for key, width in (("plain", 3.0), ("log", math.log(1e3))):
        moved = [float(point[key]) for point in found if point[key] != centre[key]]
        assert abs(len(moved) / len(found) - 0.5) < 0.03
        steps = [(math.log(v / centre[key]) if key == "log" else v - centre[key]) / width for v in moved]
        assert abs(math.sqrt(sum(step**2 for step in steps) / len(steps)) - 0.05) < 0.003


def test_a_point_that_is_known_is_not_drawn_again() -> None:
    parameters, rng = {"flag": KINDS["flag"]}, random.Random(2)
    for _ in range(20):
        assert ALWAYS.draw(parameters, [{"flag": True}], [{"flag": True}], rng) == {"flag": False}
    assert ALWAYS.draw(parameters, [{"flag": True}], [{"flag": True}, {"flag": False}], rng) is None
    assert ALWAYS.draw(parameters, [], [], rng) is None


def test_the_share_of_local_points_is_as_said_and_none_comes_before_there_are_enough_results() -> None:
    local, rng = LocalSearch(share=0.3, after=10), random.Random(3)
    assert not any(local.is_next(9, rng) for _ in range(1000))
    assert abs(sum(local.is_next(10, rng) for _ in range(10_000)) / 10_000 - 0.3) < 0.02


def told_of(point: Mapping[str, Scalar]) -> float:
    return abs(float(point["plain"]) - 1.0) + abs(math.log(float(point["log"]) / 1e-3))


def kinds_sampler(local: LocalSearch | None = ALWAYS, *, objectives: int = 1) -> Sampler:
    return Sampler(
        Space(name="kinds", text="", parameters=KINDS), seed=4, trials=30, local=local, objectives=objectives
    )


CENTRES: list[dict[str, Scalar]] = [
    {"whole": 3, "one": 5, "plain": plain, "log": 1e-3, "list": "[1, 2]", "flag": True} for plain in (0.1, 0.7, 1.3)
]


def centre_of(point: Mapping[str, Scalar]) -> Scalar:
    """The value that small steps have left nearly as it was."""
    return min((centre["plain"] for centre in CENTRES), key=lambda value: abs(float(value) - float(point["plain"])))


def centres(told: list[Told], *, objectives: int = 1) -> set[Scalar]:
    """Around which of three points with these results a sampler draws."""
    sampler = kinds_sampler(LocalSearch(share=1.0, after=1, sigma=0.001), objectives=objectives)
    for centre, result in zip(CENTRES, told, strict=True):
        sampler.tell(sampler.begin(centre), result)
    return {centre_of(sampler.ask()[1]) for _ in range(30)}


def test_the_incumbent_is_a_completed_trial_before_a_stopped_one_and_never_a_diverged_one() -> None:
    stopped, longer, diverged = Told(log_losses={1: 0.1}), Told(log_losses={1: 0.9, 3: 0.8}), Told()
    assert centres([stopped, Told(value=1.0, log_losses={1: 0.5}), longer]) == {0.7}
    assert centres([Told(value=1.0), Told(value=0.9), Told(value=0.9)]) == {0.7}, "of equal ones the first"
    assert centres([stopped, longer, diverged]) == {0.7}
    assert centres([diverged, diverged, stopped]) == {1.3}
    assert centres([Told(usable=False, value=0.0), Told(usable=False), longer]) == {1.3}


def test_points_are_tpes_while_all_trials_have_diverged() -> None:
    alone, local = kinds_sampler(None), kinds_sampler()
    for sampler in (alone, local):
        sampler.tell(sampler.begin(CENTRES[0]), Told())
    assert alone.ask() == local.ask()


def test_with_two_objectives_all_points_of_the_front_of_the_completed_are_incumbents() -> None:
    front = [Told(value=1.0, others=(5.0,)), Told(value=2.0, others=(3.0,)), Told(value=2.5, others=(4.0,))]
    assert centres(front, objectives=2) == {0.1, 0.7}
    small = [Told(value=1.0, others=(5.0,)), Told(log_losses={1: 0.5}, others=(1.0,)), Told(others=(0.0,))]
    assert centres(small, objectives=2) == {0.1}
    rungs = [Told(log_losses={1: 1.0}, others=(1.0,)), Told(log_losses={3: 1.0}, others=(2.0,)), Told(others=(0.0,))]
    assert centres(rungs, objectives=2) == {0.7}


def test_a_suggestion_depends_on_seed_number_and_results_alone() -> None:
    sampler, points = kinds_sampler(LOCAL), []
    for _ in range(LOCAL.after + 20):
        handle, point = sampler.ask()
        sampler.tell(handle, Told(value=told_of(point)))
        points.append(point)
    for cut in range(len(points)):
        resumed = kinds_sampler(LOCAL)
        for point in points[:cut]:
            resumed.skip(point)
            resumed.tell(resumed.begin(point), Told(value=told_of(point)))
        assert resumed.ask()[1] == points[cut], f"cut after {cut}"


def changes(one: Mapping[str, Scalar], other: Mapping[str, Scalar]) -> int:
    return sum(one[key] != other[key] for key in one)


def test_about_the_share_of_a_samplers_points_shares_values_with_the_best() -> None:
    sampler, best, near = kinds_sampler(LocalSearch(share=0.5, after=10)), list[tuple[float, dict[str, Scalar]]](), 0
    for number in range(110):
        handle, point = sampler.ask()
        if number >= 10:
            centre = min(best, key=lambda one: one[0])[1]
            near += point["plain"] == centre["plain"] or point["log"] == centre["log"]
        best.append((told_of(point), point))
        sampler.tell(handle, Told(value=told_of(point)))
    assert 0.5 * 0.75 - 0.15 < near / 100 < 0.5 * 0.75 + 0.15, "a quarter of the local points changes both"


def test_local_search_stays_in_a_family_and_tpe_chooses_the_family() -> None:
    space = load_space("families128")
    families: dict[LocalSearch | None, list[Scalar]] = {None: [], ALWAYS: []}
    for local, chosen in families.items():
        sampler = sampler_of(space, seed=5, trials=30, local=local)
        for number in range(15):
            handle, point = sampler.ask()
            family = str(point[FAMILY])
            assert holds(space.of_family(family), {k: v for k, v in point.items() if k != FAMILY})
            chosen.append(family)
            sampler.tell(handle, Told(value=float(number % 5)))
    assert families[None] == families[ALWAYS]
