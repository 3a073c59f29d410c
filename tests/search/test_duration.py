"""The estimate of a search's time, from one real training step."""

import dataclasses
import re

import pytest
import torch

from asc.search.duration import estimate, minutes, packing, packing_seconds
from asc.search.plan import SearchPlan


def test_the_range_is_from_half_of_the_epochs_to_all_and_the_threads_stay(quick: SearchPlan) -> None:
    threads = torch.get_num_threads()
    shortest, longest = minutes(quick)
    assert 0 < shortest and longest == 2 * shortest
    assert torch.get_num_threads() == threads


def test_a_search_by_promotion_takes_its_planned_epochs_or_more_and_never_more_than_all(
    quick: SearchPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asc.search.duration._time_one_crop", lambda base, threads: (0.001, 0.002, 0.001))
    schedule = dataclasses.replace(quick.base.schedule, cycles=3, epochs_per_cycle=1, cycle_growth=4)
    base = dataclasses.replace(quick.base, schedule=schedule)
    many = dataclasses.replace(quick.settings, trials=65, reduction_factor=4)
    whole = minutes(dataclasses.replace(quick, base=base, settings=many))[1]
    shortest, longest = minutes(
        dataclasses.replace(quick, base=base, settings=dataclasses.replace(many, asha="promotion"))
    )
    planned = 21 + 64 + 16 * 4 + 4 * 16
    assert shortest == pytest.approx(whole * planned / (65 * 21)) and longest == pytest.approx(1.8 * shortest)
    few = dataclasses.replace(many, trials=2, asha="promotion")
    assert minutes(dataclasses.replace(quick, base=base, settings=few))[1] == pytest.approx(whole * 2 / 65)


def test_packing_takes_longer_for_more_rates_and_is_told_with_them(quick: SearchPlan) -> None:
    assert packing_seconds(quick, ()) == 0 < packing_seconds(quick, (44_100,))
    said = packing(quick, (44_100, 16_000))
    assert re.fullmatch(r"packing [\d,]+ clips at 44,100 and 16,000 Hz: about \d+ s, once on this machine", said)
    elsewhere = dataclasses.replace(quick, settings=dataclasses.replace(quick.settings, address="host:1"))
    assert packing(elsewhere, (16_000,)).endswith("once on each machine that does not share the cache")


def test_every_epoch_of_the_finals_is_counted(quick: SearchPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asc.search.duration._time_one_crop", lambda base, threads: (0.001, 0.002, 0.001))
    finals = dataclasses.replace(quick.settings, final_top=3, final_seeds=1, final_cycles=2, final_epochs=6)
    more = dataclasses.replace(quick, settings=finals)
    shortest, longest = minutes(quick)
    epochs = quick.base.schedule.epochs * quick.settings.trials / quick.settings.max_concurrent
    finished = longest / epochs * 12 * 3 / 2
    assert minutes(more) == pytest.approx((shortest + finished, longest + finished)), "three finals, two at a time"
    assert estimate(more, (3.4, 6.8)).startswith("6 trials and 3 finals, 2 at a time: about 3 to 7 minutes here")
    assert ": less than a minute here" in estimate(more, (0.3, 0.7))
    assert ": about 10 to 20 hours here" in estimate(more, (590.0, 1180.0))


def test_larger_teachers_are_counted_by_their_size(quick: SearchPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asc.search.duration._time_one_crop", lambda base, threads: (0.001, 0.002, 0.001))
    schedule = {"final_seeds": 2, "final_cycles": 2, "final_epochs": 6}
    finals = dataclasses.replace(quick.settings, final_top=1, distil=True, **schedule)
    larger = dataclasses.replace(finals, teacher_kb=3 * finals.budget_kb)
    plain, taught, more = (
        minutes(dataclasses.replace(quick, settings=settings))[0] for settings in (quick.settings, finals, larger)
    )
    assert more - taught == pytest.approx(3 * (taught - plain))
    said = estimate(dataclasses.replace(quick, settings=larger), (3.4, 6.8))
    assert said.startswith("6 trials, 2 teachers and 2 finals, 2 at a time")


def test_the_text_names_trials_and_minutes(quick: SearchPlan) -> None:
    planned = dataclasses.replace(quick, settings=dataclasses.replace(quick.settings, trials=7, max_concurrent=2))
    assert estimate(planned, (3.4, 6.8)).startswith("7 trials, 2 at a time: about 3 to 7 minutes here")
