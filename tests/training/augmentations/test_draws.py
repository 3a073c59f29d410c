"""The random numbers of the augmentations: a stream each, and a function of seed, epoch and clip."""

import numpy as np
import pytest
from scipy import stats

from asc.config.augment import Augment
from asc.training.augmentations.draws import Draw, chosen, drawn

ALL_ON = Augment(
    impulse_response_p=0.5,
    soft_clip_p=0.5,
    band_limit_p=0.5,
    level_jitter_db=6,
    roll_s=0.1,
    freq_mixstyle_p=0.4,
    frequency_mask_bands=48,
    time_mask_s=0.1,
)


def test_nothing_is_drawn_by_default() -> None:
    assert drawn(Augment(), seed=0, epoch=0, count=5) == {}


def test_all_streams_are_their_own_and_none_is_one_of_order_crop_speed_or_mixup() -> None:
    assert sorted(draw.value for draw in Draw) == list(range(4, 4 + len(Draw)))
    found = drawn(ALL_ON, seed=3, epoch=2, count=4_000)
    assert set(found) == set(Draw)
    correlation = np.corrcoef(np.stack(list(found.values())))
    assert np.abs(correlation - np.eye(len(Draw))).max() < 0.08


def test_switching_one_on_changes_nothing_of_the_others() -> None:
    alone = drawn(Augment(roll_s=0.1), seed=3, epoch=2, count=10)
    together = drawn(ALL_ON, seed=3, epoch=2, count=10)
    assert set(alone) == {Draw.ROLL}
    assert (alone[Draw.ROLL] == together[Draw.ROLL]).all()


def test_a_clips_numbers_do_not_depend_on_how_many_clips_there_are() -> None:
    few, many = (drawn(ALL_ON, seed=1, epoch=0, count=count) for count in (7, 700))
    assert all((many[draw][:7] == few[draw]).all() for draw in Draw if draw is not Draw.STYLE_WEIGHT)


@pytest.mark.parametrize("change", [{"seed": 4}, {"epoch": 3}])
def test_seed_and_epoch_change_all_numbers(change: dict[str, int]) -> None:
    one = drawn(ALL_ON, seed=3, epoch=2, count=10)
    other = drawn(ALL_ON, **{"seed": 3, "epoch": 2, **change}, count=10)
    assert all((one[draw] != other[draw]).any() for draw in Draw)


def test_style_weights_follow_the_beta_distribution_and_the_rest_are_uniform() -> None:
    found = drawn(ALL_ON, seed=0, epoch=0, count=20_000)
    assert stats.kstest(found[Draw.STYLE_WEIGHT], stats.beta(0.3, 0.3).cdf).pvalue > 0.01
    assert stats.kstest(found[Draw.CUTOFF], "uniform").pvalue > 0.01


def test_the_share_of_chosen_rows_is_the_probability() -> None:
    uniform = np.random.default_rng(0).random(10_000)
    assert abs(len(chosen(uniform, 0.4)) / 10_000 - 0.4) < 0.02
    assert len(chosen(uniform, 0.0)) == 0
    assert len(chosen(uniform, 1.0)) == 10_000
