"""Early stopping at the ends of cycles, compared with Ray's ASHA."""

from types import SimpleNamespace

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler

from asc.config.experiment import Schedule
from asc.search.rungs import Rungs, rung_epochs, rungs_of


def test_decisions_equal_those_of_rays_asha() -> None:
    rng = np.random.default_rng(0)
    rungs = Rungs(epochs=(5, 10, 20, 40), reduction_factor=2)
    asha = AsyncHyperBandScheduler(
        time_attr="epoch", metric="loss", mode="min", max_t=41, grace_period=5, reduction_factor=2
    )
    running = {f"t{number:03d}": 0 for number in range(60)}
    for trial in running:
        asha.on_trial_add(None, SimpleNamespace(trial_id=trial))
    stopped = 0
    while running:
        trial = str(rng.choice(sorted(running)))
        epoch = running[trial] = running[trial] + 1
        loss = float(rng.normal(2 - epoch / 40, 0.3))
        theirs = asha.on_trial_result(None, SimpleNamespace(trial_id=trial), {"epoch": epoch, "loss": loss})
        ours = rungs.stops(trial, epoch, loss) if epoch in rungs.recorded else False
        if epoch < 41:
            assert ours == (theirs == "STOP"), (trial, epoch)
        stopped += ours
        if ours or epoch == 41:
            del running[trial]
    assert 20 < stopped < 60


def test_rungs_are_after_powers_of_the_factor_but_never_at_the_last_epoch() -> None:
    assert rung_epochs(Schedule(cycles=3, epochs_per_cycle=8), 2) == (8, 16)
    assert rung_epochs(Schedule(cycles=9, epochs_per_cycle=5), 2) == (5, 10, 20, 40)
    assert rung_epochs(Schedule(cycles=10, epochs_per_cycle=2), 3) == (2, 6, 18)
    assert rung_epochs(Schedule(cycles=1, epochs_per_cycle=8), 2) == ()


def test_cycles_that_grow_have_a_rung_at_the_end_of_each_but_the_last() -> None:
    assert rung_epochs(Schedule(cycles=3, epochs_per_cycle=1, cycle_growth=4), 2) == (1, 5)
    assert rung_epochs(Schedule(cycles=5, epochs_per_cycle=1, cycle_growth=2), 4) == (1, 3, 7, 15)


def test_rungs_filled_from_a_journal_decide_like_uninterrupted_ones() -> None:
    whole = Rungs(epochs=(2, 4), reduction_factor=2)
    resumed = Rungs(epochs=(2, 4), reduction_factor=2)
    for number, loss in enumerate((1.0, 0.5, 2.0)):
        whole.stops(f"t{number:03d}", 2, loss)
        resumed.record(f"t{number:03d}", 2, loss)
    for loss in (0.4, 0.9, 3.0):
        assert whole.stops("next", 2, loss) == resumed.stops("next", 2, loss)


def test_the_best_share_of_a_rung_goes_on_from_the_highest_rung_down() -> None:
    rungs = Rungs(epochs=(1, 5), reduction_factor=3)
    paused = {}
    for number, loss in enumerate((0.9, 0.5, 0.7, 0.4, 0.6)):
        rungs.record(f"t{number}", 1, loss)
        paused[f"t{number}"] = 1
    assert rungs.promotable(paused) == "t3", "the best of five; a third of them is one"
    del paused["t3"]
    assert rungs.promotable(paused) is None and rungs.promotable(paused, at_least=2) == "t1"
    rungs.record("t5", 1, 0.8)
    assert rungs.promotable(paused) == "t1", "a third of six are two, and the other has gone on"
    for name, loss in (("t1", 3.0), ("t3", 2.0), ("t4", 4.0)):
        rungs.record(name, 5, loss)
        paused[name] = 5
    assert rungs.promotable(paused) == "t3", "the higher rung comes first"


def test_equal_losses_go_on_in_the_order_in_which_they_came() -> None:
    rungs = Rungs(epochs=(1,), reduction_factor=2)
    for name in ("late", "early"):
        rungs.record(name, 1, 1.0)
    assert rungs.promotable({"early": 1, "late": 1}) == "late"


def test_the_planned_epochs_are_those_of_successive_halving_and_of_the_reference() -> None:
    rungs = rungs_of(Schedule(cycles=3, epochs_per_cycle=1, cycle_growth=4), 4)
    assert [rungs.next_rung(epoch) for epoch in (0, 1, 5)] == [1, 5, None]
    assert rungs.planned_epochs(65, 21) == 21 + 64 * 1 + 16 * 4 + 4 * 16
    assert rungs.planned_epochs(2, 21) == 21 + 1 + 4 + 16, "at the end each rung promotes its best"
    assert rungs.planned_epochs(4, 21, at_least=2) == 21 + 3 + 2 * 4 + 2 * 16, "or as many as there are objectives"
    assert rungs.planned_epochs(1, 21) == 21


def test_of_several_objectives_a_small_network_is_not_stopped_by_a_large_one_that_is_better() -> None:
    sizes = {"large": 100.0, "small": 10.0, "middle": 99.0, "poor": 100.0, "worst": 101.0}
    plain = Rungs(epochs=(2,), reduction_factor=2)
    of_front = Rungs(epochs=(2,), reduction_factor=2, others=lambda trial: (sizes[trial],))
    log_losses = {"large": 0.5, "small": 1.5, "middle": 0.55, "poor": 1.0, "worst": 2.0}
    stopped = {
        name: [trial for trial, loss in log_losses.items() if rungs.stops(trial, 2, loss)]
        for name, rungs in {"plain": plain, "front": of_front}.items()
    }
    assert stopped["plain"] == ["small", "poor", "worst"]
    assert stopped["front"] == ["middle", "poor", "worst"], "of three the two ends of the front go on"


def test_an_order_of_several_objectives_follows_what_is_recorded_and_dropped() -> None:
    costs = {"a": 3.0, "b": 2.0, "c": 1.0, "d": 0.5}
    asked: list[str] = []

    def others(trial: str) -> tuple[float, ...]:
        asked.append(trial)
        return (costs[trial],)

    rungs, paused = Rungs(epochs=(2,), reduction_factor=2, others=others), dict.fromkeys("bcd", 2)
    for name, log_loss in zip("abc", (1.0, 2.0, 3.0), strict=True):
        rungs.record(name, 2, log_loss)
    assert rungs.promotable(paused) is None, "the only place is that of a, which does not wait"
    number = len(asked)
    assert rungs.promotable(paused) is None and len(asked) == number, "nothing has changed, so nothing is ranked again"
    rungs.record("d", 2, 0.5)
    assert rungs.promotable(paused) == "d", "it is better in both"
    rungs.drop("d")
    assert rungs.promotable(paused, at_least=2) == "c", "the other end of the front"


def test_of_several_objectives_the_ends_of_the_front_are_promoted_first() -> None:
    sizes = {"large": 100.0, "small": 10.0, "beside": 98.0, "poor": 100.0}
    rungs = Rungs(epochs=(2,), reduction_factor=2, others=lambda trial: (sizes[trial],))
    paused = dict.fromkeys(sizes, 2)
    for trial, log_loss in {"beside": 0.52, "poor": 1.6, "small": 1.5, "large": 0.5}.items():
        rungs.record(trial, 2, log_loss)
    promoted = []
    while (trial := rungs.promotable(paused)) is not None:
        promoted.append(trial)
        del paused[trial]
    assert promoted == ["large", "small"]
