"""Early stopping at the ends of cycles, compared with Ray's ASHA."""

from types import SimpleNamespace

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler

from asc.config.experiment import Schedule
from asc.search.rungs import Rungs, rung_epochs


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
