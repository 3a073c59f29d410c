"""How many trials run where memory is short, by a clock and a memory of the test's own."""

from collections.abc import Callable

import pytest

from asc.search.cluster.memory import Headroom, is_short_here


class Machine:
    """A clock, and whether memory is short."""

    def __init__(self, most: int) -> None:
        self.now_s, self.short, self.said = 0.0, False, list[str]()
        self.headroom = Headroom(most, say=self.said.append, is_short=lambda: self.short, clock_s=lambda: self.now_s)

    def start(self, *workers: str) -> None:
        for worker in workers:
            assert self.headroom.may_start()
            self.headroom.started(worker)

    def wait(self, seconds: float) -> bool:
        """Whether a trial may start after a number of seconds."""
        self.now_s += seconds
        return self.headroom.may_start()


@pytest.fixture
def machine() -> Callable[[int], Machine]:
    return Machine


def test_trials_that_are_stopped_together_are_not_blamed_and_go_on_together_once_memory_is_there(
    machine: Callable[[int], Machine],
) -> None:
    two = machine(2)
    two.start("a", "b")
    assert not two.headroom.may_start(), "there are two"
    two.short = True
    assert not two.headroom.ran_short("a", "t000", 3)
    two.now_s += 1
    assert not two.headroom.ran_short("b", "t001", 0), "it did not run alone, though it was the last to be stopped"
    assert not two.wait(300), "memory is short"
    two.short = False
    assert two.headroom.may_start()
    two.start("c", "d")
    assert two.said == [] and two.headroom.limit == 2


def test_a_shortage_that_comes_back_means_fewer_at_a_time_and_says_so(machine: Callable[[int], Machine]) -> None:
    three = machine(3)
    for number in range(5):
        workers = [f"{number}{worker}" for worker in range(three.headroom.limit)]
        assert three.wait(100)
        three.start(*workers)
        for trial, worker in enumerate(workers):
            three.headroom.ran_short(worker, f"t{trial}", number)
    assert three.headroom.limit == 1
    assert three.said == [
        "memory ran short again: 2 at a time from now on",
        "memory ran short again: 1 at a time from now on",
    ]


def test_without_a_new_epoch_fewer_run_however_late_the_next_shortage_is(machine: Callable[[int], Machine]) -> None:
    for epoch, limit in ((7, 1), (8, 2)):
        two = machine(2)
        two.start("a", "b")
        two.headroom.ran_short("a", "t000", 7)
        assert two.wait(10_000)
        two.start("c")
        two.headroom.ran_short("c", "t000", epoch)
        assert two.headroom.limit == limit


def test_a_trial_alone_is_blamed_where_memory_is_there_without_it(machine: Callable[[int], Machine]) -> None:
    one = machine(1)
    one.start("a")
    assert one.headroom.ran_short("a", "t000", 0)
    assert one.wait(100)
    one.start("b")
    one.short = True
    assert not one.headroom.ran_short("b", "t000", 0), "others hold it"


def test_others_have_their_places_again_when_the_trial_that_was_too_large_has_failed(
    machine: Callable[[int], Machine],
) -> None:
    two = machine(2)
    for _ in range(2):
        assert two.wait(100)
        two.start("a", "b")
        two.headroom.ran_short("a", "t000", 0)
        two.headroom.ended("b")
    assert two.headroom.limit == 1
    two.headroom.gave_up()
    assert two.headroom.limit == 2 and "2 at a time again" in two.said[-1]
    two.headroom.gave_up()
    assert len(two.said) == 2


def test_memory_that_others_hold_is_waited_for_some_minutes_while_no_trial_runs(
    machine: Callable[[int], Machine],
) -> None:
    two = machine(2)
    two.start("a", "b")
    two.short = True
    two.headroom.ran_short("a", "t000", 0)
    two.now_s += 3600
    assert not two.headroom.may_start() and not two.headroom.hopeless, "b runs, and may free some"
    two.headroom.ended("b")
    assert two.headroom.hopeless
    two.short = False
    assert two.headroom.may_start() and not two.headroom.hopeless


def test_memory_is_short_by_the_threshold_that_ray_has(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray  # noqa: F401  # it brings along what counts the memory

    for threshold, short in (("0.0", True), ("5.0", False)):
        monkeypatch.setenv("RAY_memory_usage_threshold", threshold)
        assert is_short_here() is short
