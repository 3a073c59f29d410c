"""The learning rate of cycles that are equally long, and of cycles that grow."""

import json

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CyclicLR, LRScheduler

from asc.config.experiment import Schedule
from asc.training.adam import Adam
from asc.training.learning_rate import cyclic, rate

STEPS = 5


def adam(schedule: Schedule) -> Adam:
    return Adam([nn.Parameter(torch.zeros(1))], lr=schedule.learning_rate_min)


def rates(optimizer: Adam, scheduler: LRScheduler, steps: int) -> list[float]:
    """The rates of the next steps, as the optimiser has them."""
    found = []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


def test_the_learning_rate_follows_the_seeds_technical_report() -> None:
    """FACTS: triangular2, 60 epochs up and 60 down; the amplitude halves with each cycle."""
    schedule = Schedule()
    optimizer = adam(schedule)
    found = rates(optimizer, cyclic(optimizer, schedule, STEPS), schedule.epochs * STEPS + 1)
    expected = {0: 1e-6, 60: 1e-3, 120: 1e-6, 180: 5.005e-4, 240: 1e-6, 300: 2.5075e-4, 360: 1e-6}
    for epoch, value in expected.items():
        assert found[epoch * STEPS] == pytest.approx(value, rel=1e-9), epoch


def test_cycles_of_equal_length_are_torchs_to_the_last_bit() -> None:
    schedule = Schedule(cycles=3, epochs_per_cycle=7)
    ours, torchs = adam(schedule), adam(schedule)
    theirs = CyclicLR(
        torchs,
        base_lr=schedule.learning_rate_min,
        max_lr=schedule.learning_rate_max,
        step_size_up=7 * STEPS / 2,  # type: ignore[arg-type]
        mode="triangular2",
        cycle_momentum=False,
    )
    assert rates(ours, cyclic(ours, schedule, STEPS), 105) == rates(torchs, theirs, 105)


def test_the_rate_as_a_function_of_time_is_that_of_torch_where_cycles_do_not_grow() -> None:
    """So what cycles that grow do is the same policy."""
    schedule = Schedule(cycles=3, epochs_per_cycle=7)
    optimizer = adam(schedule)
    found = rates(optimizer, cyclic(optimizer, schedule, STEPS), 105)
    assert [rate(schedule, step / STEPS) for step in range(105)] == pytest.approx(found, rel=1e-9)


def test_cycles_that_grow_halve_their_peaks_and_end_at_the_minimum() -> None:
    """Cycles of 2, 4 and 8 epochs: peaks after 1, 4 and 10 epochs; the values are computed by hand."""
    schedule = Schedule(cycles=3, epochs_per_cycle=2, cycle_growth=2, learning_rate_min=0.1, learning_rate_max=0.9)
    assert schedule.cycle_ends == (2, 6, 14) and schedule.epochs == 14
    optimizer = adam(schedule)
    found = rates(optimizer, cyclic(optimizer, schedule, 2), 29)
    expected = [
        *(0.1, 0.5, 0.9, 0.5),
        *(0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.3, 0.2),
        *(0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.275, 0.3, 0.275, 0.25, 0.225, 0.2, 0.175, 0.15, 0.125),
        0.1,
    ]
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_restored_scheduler_goes_on_where_it_was() -> None:
    schedule = Schedule(cycles=3, epochs_per_cycle=2, cycle_growth=2)
    first = adam(schedule)
    scheduler = cyclic(first, schedule, STEPS)
    rates(first, scheduler, 23)
    state = json.loads(json.dumps({k: v for k, v in scheduler.state_dict().items() if not callable(v)}))
    second = adam(schedule)
    restored = cyclic(second, schedule, STEPS)
    restored.load_state_dict(state)
    second.param_groups[0]["lr"] = state["_last_lr"][0]
    assert rates(second, restored, 47) == rates(first, scheduler, 47)
