"""Augmentation: plans of an epoch, crops, speed changes, mixup, and the batches made from them."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from asc.audio.torchaudio_compat import torchaudio
from asc.config.augment import Augment
from asc.errors import InputError
from asc.models.workers import Workers
from asc.training.augment import Batcher, BatchPlan, change_speed, crop_bounds, mixup, plan_epoch

RATE_HZ = 16_000


def _plan(clips, *, seed=0, epoch=0, batch_size=64, **augment) -> list[BatchPlan]:
    return plan_epoch(
        np.asarray(clips, dtype=np.int64), seed=seed, epoch=epoch, batch_size=batch_size, augment=Augment(**augment)
    )


def _of_clips(plans: list[BatchPlan]) -> dict[int, tuple[float, int, float]]:
    """Crop start (0 to 1), index of the speed factor, and mixup weight of each clip."""
    return {
        int(clip): (float(start), int(speed), float(weight))
        for plan in plans
        for clip, start, speed, weight in zip(plan.clip, plan.start, plan.speed, plan.weight, strict=True)
    }


def _draws(name: str, **augment) -> np.ndarray:
    """One field of the plans of 5,000 clips over four epochs, shape (20,000,)."""
    return np.concatenate(
        [getattr(plan, name) for epoch in range(4) for plan in _plan(range(5_000), epoch=epoch, **augment)]
    )


class InMemory:
    """Six clips of two classes: clip i has 1,000 * (i + 1) samples that count up from 10,000 * i."""

    labels = ("left", "right")

    def samples(self, i: int) -> int:
        return 1000 * (i + 1)

    def waveform(self, i: int, start: int, count: int) -> np.ndarray:
        assert start + count <= self.samples(i)
        return np.arange(10_000 * i + start, 10_000 * i + start + count, dtype=np.float32)

    def target(self, i: int) -> int:
        return i % 2

    def device(self, i: int) -> str:
        return "ab"[i // 2 % 2]


# Random draws.


@given(
    clips=st.sets(st.integers(0, 300), min_size=2, max_size=80),
    batch_size=st.integers(2, 70),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 400),
)
def test_every_clip_is_in_one_batch_and_no_batch_has_one_clip(clips, batch_size, seed, epoch):
    plans = _plan(sorted(clips), seed=seed, epoch=epoch, batch_size=batch_size)
    assert sorted(int(clip) for plan in plans for clip in plan.clip) == sorted(clips)
    assert all(2 <= len(plan) <= batch_size + 1 for plan in plans)
    assert all(len(plan) == batch_size for plan in plans[:-2])
    for plan in plans:
        assert sorted(plan.partner) == list(range(len(plan)))
        assert (plan.partner != np.arange(len(plan))).all()


def test_sizes_of_the_last_batches():
    sizes = {count: [len(plan) for plan in _plan(range(count), batch_size=4)] for count in (2, 3, 4, 5, 8, 9, 10)}
    assert sizes == {2: [2], 3: [3], 4: [4], 5: [5], 8: [4, 4], 9: [4, 5], 10: [4, 4, 2]}


def test_a_clips_draws_do_not_depend_on_other_clips_or_the_batch_size():
    whole = _of_clips(_plan(range(1_000), seed=3, epoch=7, batch_size=64))
    part = _of_clips(_plan(range(900, 200, -7), seed=3, epoch=7, batch_size=5))
    assert part == {clip: whole[clip] for clip in range(900, 200, -7)}


def test_the_order_depends_only_on_which_clips_there_are():
    forward, backward = (np.concatenate([p.clip for p in _plan(c)]) for c in (range(500), range(499, -1, -1)))
    assert (forward == backward).all()
    assert (forward != np.arange(500)).mean() > 0.95


def test_a_plan_depends_only_on_seed_and_epoch():
    run = [_of_clips(_plan(range(100), seed=1, epoch=epoch)) for epoch in range(5)]
    assert _of_clips(_plan(range(100), seed=1, epoch=3)) == run[3]
    for other in (run[2], run[4], _of_clips(_plan(range(100), seed=2, epoch=3))):
        assert not {v[0] for v in other.values()} & {v[0] for v in run[3].values()}
    orders = [np.concatenate([p.clip for p in _plan(range(100), epoch=epoch)]) for epoch in (0, 1)]
    assert (orders[0] != orders[1]).any()


def test_crops_and_speeds_do_not_depend_on_the_mixup():
    with_mixup, without = (_of_clips(_plan(range(50), mixup_alpha=alpha)) for alpha in (0.2, 0.0))
    assert {clip: value[:2] for clip, value in with_mixup.items()} == {c: v[:2] for c, v in without.items()}
    assert {value[2] for value in without.values()} == {1.0}


def test_speeds_are_equally_likely():
    counts = np.bincount(_draws("speed"))
    assert len(counts) == 3
    assert stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_weights_follow_the_beta_distribution(alpha):
    weights = _draws("weight", mixup_alpha=alpha)
    assert stats.kstest(weights, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_starts_are_uniform_and_independent_of_speed_and_mixup():
    starts = _draws("start")
    assert stats.kstest(starts, "uniform").pvalue > 0.01
    assert abs(stats.spearmanr(starts, _draws("speed")).statistic) < 0.03
    assert abs(stats.spearmanr(starts, _draws("weight")).statistic) < 0.03
    firsts = [_of_clips(_plan([0, 1], seed=seed, epoch=epoch))[0][0] for seed in range(20) for epoch in range(20)]
    assert stats.kstest(firsts, "uniform").pvalue > 0.01


@pytest.mark.parametrize("clips", [[], [4]])
def test_too_few_clips_are_refused(clips):
    with pytest.raises(InputError, match=f"has {len(clips)} clips"):
        _plan(clips)


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match="seed"):
        _plan([0, 1], seed=-1)


# Crops.


@given(samples=st.integers(0, 500_000), crop=st.integers(1, 500_000), fraction=st.floats(0, 1, exclude_max=True))
def test_crops_lie_within_the_clip(samples, crop, fraction):
    start, count = crop_bounds(samples, fraction, crop)
    assert count == min(samples, crop)
    assert 0 <= start <= samples - count


def test_every_start_is_equally_likely():
    starts = [crop_bounds(12, fraction, 3)[0] for fraction in np.arange(0, 1, 1 / 1000)]
    assert np.bincount(starts).tolist() == [100] * 10


# Speed.


def _peak_hz(waveform: torch.Tensor) -> float:
    """The frequency of the highest spectral peak of a waveform, (samples,), in Hz."""
    spectrum = torch.fft.rfft(waveform * torch.hann_window(len(waveform)), n=16 * len(waveform)).abs()
    return int(spectrum.argmax()) * RATE_HZ / (16 * len(waveform))


def test_speed_changes_pitch_and_length():
    time_s = torch.arange(2 * RATE_HZ) / RATE_HZ
    tone = torch.sin(2 * torch.pi * 1000 * time_s).expand(3, -1)
    slow, same, fast = change_speed(tone, np.array([0, 1, 2]), speed_factors=(0.85, 1.0, 1.15))
    assert torch.equal(same, tone[1])
    assert _peak_hz(slow[500:20_000]) == pytest.approx(850, abs=1)
    assert _peak_hz(fast[500:20_000]) == pytest.approx(1150, abs=1)
    end = math.ceil(len(time_s) / 1.15)
    assert (fast[end:] == 0).all()
    assert fast[end - 100 : end].abs().max() > 0.5
    assert slow[-100:].abs().max() > 0.9


@pytest.mark.parametrize("factor", [0.85, 0.9, 1.1, 1.15])
def test_speed_equals_torchaudio(factor):
    waveform = torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0))
    rate_hz = 2_000  # at this rate torchaudio's int(factor * rate) is exact
    expected, _ = torchaudio().transforms.SpeedPerturbation(rate_hz, [factor])(waveform)
    changed = change_speed(waveform, np.array([0, 0]), speed_factors=(factor,))
    kept = min(expected.shape[-1], 8_000)
    torch.testing.assert_close(changed[:, :kept], expected[:, :kept], atol=1e-4, rtol=0)
    assert (changed[:, kept:] == 0).all()


def test_speed_does_not_change_its_input_and_treats_rows_independently():
    waveform = torch.randn(5, 3_000, generator=torch.Generator().manual_seed(1))
    before = waveform.clone()
    speed = np.array([2, 0, 1, 0, 2])
    changed = change_speed(waveform, speed, speed_factors=(0.85, 1.0, 1.15))
    assert torch.equal(waveform, before)
    for row in range(5):
        alone = change_speed(waveform[row : row + 1], speed[row : row + 1], speed_factors=(0.85, 1.0, 1.15))
        torch.testing.assert_close(changed[row : row + 1], alone)


# Mixup.


def test_mixup_follows_its_formula():
    generator = torch.Generator().manual_seed(2)
    waveform = torch.randn(4, 50, generator=generator)
    target = torch.eye(3)[torch.tensor([0, 2, 1, 0])]
    weight, partner = np.array([1.0, 0.0, 0.25, 0.9]), np.array([1, 2, 3, 0])
    mixed, soft = mixup(waveform, target, weight=weight, partner=partner)
    for row in range(4):
        own, other = weight[row], 1 - weight[row]
        torch.testing.assert_close(mixed[row], own * waveform[row] + other * waveform[partner[row]])
        torch.testing.assert_close(soft[row], own * target[row] + other * target[partner[row]])
    assert torch.equal(mixed[0], waveform[0])
    assert torch.equal(mixed[1], waveform[2])


# Batches.


def _batcher(**augment) -> Batcher:
    return Batcher(InMemory(), Augment(crop_s=0.25, **augment), RATE_HZ, torch.device("cpu"))


def test_load_reads_the_planned_crops_and_pads_short_clips():
    (plan,) = _plan(range(6))
    loaded = _batcher().load(plan)
    assert loaded.waveform.shape == (6, 4_000)
    assert loaded.waveform.dtype == torch.float32
    assert loaded.target.tolist() == [clip % 2 for clip in plan.clip]
    for row, clip, fraction in zip(loaded.waveform, plan.clip.tolist(), plan.start.tolist(), strict=True):
        length = min(4_000, 1000 * (clip + 1))
        first = 10_000 * clip + int(fraction * (1000 * (clip + 1) - length + 1))
        assert row[:length].tolist() == list(range(first, first + length))
        assert (row[length:] == 0).all()


def test_without_augmentation_a_batch_equals_its_crops():
    (plan,) = _plan(range(6), speed_factors=(1.0,), mixup_alpha=0.0)
    batcher = _batcher(speed_factors=(1.0,), mixup_alpha=0.0)
    loaded = batcher.load(plan)
    waveform, target = batcher.transform(loaded)
    assert torch.equal(waveform, loaded.waveform)
    assert torch.equal(target, torch.eye(2)[loaded.target])


def test_a_batch_changes_the_speed_of_its_crops_then_mixes_them():
    (plan,) = _plan(range(6))
    batcher = _batcher()
    loaded = batcher.load(plan)
    waveform, target = batcher.transform(loaded)
    fast_or_slow = change_speed(loaded.waveform, plan.speed, speed_factors=Augment().speed_factors)
    share = torch.from_numpy(plan.weight).float()[:, None]
    torch.testing.assert_close(waveform, share * fast_or_slow + (1 - share) * fast_or_slow[plan.partner])
    assert target.shape == (6, 2)
    torch.testing.assert_close(target.sum(dim=1), torch.ones(6))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("partners", ["next", "any"])
def test_the_parts_of_workers_equal_the_whole_batch_up_to_rounding(count, partners):
    """The kernel that resamples depends on the processor and on the batch size, so sums differ by about 2e-7."""
    (plan,) = _plan(range(6))
    if partners == "any":
        plan = dataclasses.replace(plan, partner=np.array([5, 5, 0, 1, 4, 2]))
    batcher = _batcher()
    waveform, target = batcher.transform(batcher.load(plan))
    parts = [plan.part(Workers(rank=rank, count=count)) for rank in range(count)]
    assert sum(map(len, parts)) == len(plan)
    made = [batcher.transform(batcher.load(part)) for part in parts]
    together = torch.cat([waveform for waveform, _ in made])
    torch.testing.assert_close(together, waveform, rtol=0, atol=1e-6 * float(waveform.abs().max()))
    assert torch.equal(torch.cat([target for _, target in made]), target)


def test_soft_labels_are_mixed_as_the_labels_are_also_with_partners_of_other_workers():
    (plan,) = _plan(range(6))
    soft = torch.softmax(torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), dim=1)
    batcher = Batcher(InMemory(), Augment(crop_s=0.25), RATE_HZ, torch.device("cpu"), soft_labels=soft)
    waveform, target = batcher.transform(batcher.load(plan))
    plain = _batcher().transform(_batcher().load(plan))
    assert torch.equal(waveform, plain[0]) and torch.equal(target[:, :2], plain[1]), "a teacher changes nothing else"
    share, of_row = torch.from_numpy(plan.weight).float()[:, None], soft[torch.from_numpy(plan.clip)]
    torch.testing.assert_close(target[:, 2:], share * of_row + (1 - share) * of_row[plan.partner])
    for count in (2, 4):
        parts = [plan.part(Workers(rank=rank, count=count)) for rank in range(count)]
        assert any(len(part.clip) > len(part) for part in parts), "a partner is another worker's row"
        assert torch.equal(torch.cat([batcher.transform(batcher.load(part))[1] for part in parts]), target)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_what_the_cpu_gives():
    (plan,) = _plan(range(6))
    loaded = _batcher().load(plan)
    waveform, target = _batcher().transform(loaded)
    on_gpu = Batcher(InMemory(), Augment(crop_s=0.25), RATE_HZ, torch.device("cuda")).transform(loaded)
    torch.testing.assert_close(on_gpu[0].cpu(), waveform, rtol=1e-5, atol=0.1)
    torch.testing.assert_close(on_gpu[1].cpu(), target)
