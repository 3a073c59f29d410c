"""Augmentation in the time domain: random crops, speed changes and additive mixup, batched on the training device.

Report (IDLab, DCASE 2021 task 1a), section 2.1; mixup is Zhang et al. 2018 (https://arxiv.org/abs/1710.09412), speed
perturbation Ko et al. 2015. `asc.training.augmentations` has further changes, which are off by default. A clip's
augmentation is a pure function of (seed, epoch, clip index), decided in a `BatchPlan` before any audio is read. So the
crops stay the same after resuming, with other batch sizes and with several workers. A worker's part of a batch is also
a plan; its rows equal those of the whole batch bit for bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from asc.audio.torchaudio_compat import resample
from asc.config.augment import Augment
from asc.data.devices import REFERENCE_DEVICE
from asc.data.impulse_response import Response
from asc.errors import InputError
from asc.models.workers import Workers
from asc.training.augmentations.draws import Draw, Uniform, drawn
from asc.training.augmentations.waveforms import WaveformChanges

# Speed factors become fractions in lowest terms (1.15 is 23/20), because resampling costs more with larger terms.
# Multiples of 0.001 are exact; finer factors are rounded to the nearest fraction with such a denominator.
_LARGEST_DENOMINATOR = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchPlan:
    """A training batch before its audio is read: arrays of shape (batch,), with one value per row.

    If several workers share the batch (`part`), partners outside a worker's rows are appended to `clip`, `start`,
    `speed` and `drawn`, which are then longer.
    """

    clip: NDArray[np.int64]
    """Clip indices."""
    start: NDArray[np.float64]
    """Start of the crop, as a fraction in [0, 1) of the possible starts (see `crop_bounds`)."""
    speed: NDArray[np.int64]
    """Index into the speed factors."""
    weight: NDArray[np.float64]
    """Mixup's lambda: the clip's own share, from 0 to 1; its partner has the rest."""
    partner: NDArray[np.int64]
    """Position in `clip` of the clip that is mixed in."""
    drawn: Mapping[Draw, Uniform]
    """The random numbers of the augmentations that are switched on; of maps, only those of the first rows count."""

    def __len__(self) -> int:
        """Number of rows that are trained on."""
        return len(self.weight)

    def part(self, workers: Workers) -> "BatchPlan":
        """Return this worker's rows, followed by their partners that are other workers' rows."""
        if workers.count == 1:
            return self
        rows = workers.slice_of(len(self))
        own, partner = np.arange(len(self))[rows], self.partner[rows]
        read = np.concatenate([own, np.setdiff1d(partner, own)])
        position = np.argsort(read)
        return BatchPlan(
            clip=self.clip[read],
            start=self.start[read],
            speed=self.speed[read],
            weight=self.weight[rows],
            partner=position[np.searchsorted(read, partner, sorter=position)],
            drawn={draw: uniform[read] for draw, uniform in self.drawn.items()},
        )


class Clips(Protocol):
    """What a `Batcher` needs of a data set, such as `asc.data.dataset.Dataset`."""

    @property
    def labels(self) -> Sequence[str]:
        """The classes; a target is an index into them."""

    def samples(self, i: int) -> int:
        """Return the length of clip i in samples."""

    def waveform(self, i: int, start: int, count: int) -> NDArray[np.float32]:
        """Return `count` samples of clip i from sample `start` on, (count,) float32."""

    def target(self, i: int) -> int:
        """Return the class number of clip i."""

    def device(self, i: int) -> str:
        """Return the device that recorded clip i."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedBatch:
    """The unprocessed crops of a plan, on the CPU: waveform (clips, crop samples) float32, target (clips,) int64.

    `reference` (clips,) says which clips are of the reference device.
    """

    plan: BatchPlan
    waveform: Tensor
    target: Tensor
    reference: NDArray[np.bool_]


class Batcher:
    """Turns plans into batches in two steps: `load` reads (in any thread), `transform` computes on the device."""

    def __init__(
        self,
        clips: Clips,
        augment: Augment,
        sample_rate_hz: int,
        device: torch.device,
        responses: Sequence[Response] = (),
        soft_labels: Tensor | None = None,
    ) -> None:
        """Prepare to make batches of `clips`, which have this sample rate.

        `responses` are the microphones for `augment.impulse_response_p`; `soft_labels` are (all clips, classes).
        """
        self._clips = clips
        self._augment = augment
        self._crop_samples = round(augment.crop_s * sample_rate_hz)
        self._device = device
        self._soft_labels = None if soft_labels is None else soft_labels.to(device)
        self._changes = WaveformChanges(
            augment, sample_rate_hz=sample_rate_hz, samples=self._crop_samples, responses=responses
        )

    def load(self, plan: BatchPlan) -> LoadedBatch:
        """Read the crops of a plan; clips shorter than a crop are padded with zeros at the end."""
        waveform = np.zeros((len(plan.clip), self._crop_samples), dtype=np.float32)
        for row, clip, fraction in zip(waveform, plan.clip.tolist(), plan.start.tolist(), strict=True):
            start, count = crop_bounds(self._clips.samples(clip), fraction, self._crop_samples)
            row[:count] = self._clips.waveform(clip, start, count)
        target = torch.tensor([self._clips.target(clip) for clip in plan.clip.tolist()])
        reference = np.array([self._clips.device(clip) == REFERENCE_DEVICE for clip in plan.clip.tolist()])
        return LoadedBatch(plan=plan, waveform=torch.from_numpy(waveform), target=target, reference=reference)

    def transform(self, loaded: LoadedBatch) -> tuple[Tensor, Tensor]:
        """Change speed and whatever else is switched on, then mix up.

        Returns waveforms (batch, crop samples) and mixed labels (batch, classes), both float32, on the device. If there
        are soft labels, the result is (batch, 2 x classes): the labels, then the soft labels, both mixed alike.
        """
        plan = loaded.plan
        waveform = change_speed(loaded.waveform.to(self._device), plan.speed, speed_factors=self._augment.speed_factors)
        waveform = self._changes.apply(waveform, plan.drawn, loaded.reference)
        target = functional.one_hot(loaded.target.to(self._device), len(self._clips.labels)).float()
        if self._soft_labels is not None:
            target = torch.cat([target, self._soft_labels[torch.from_numpy(plan.clip).to(self._device)]], dim=1)
        return mixup(waveform, target, weight=plan.weight, partner=plan.partner)


def plan_epoch(
    clips: NDArray[np.int64], *, seed: int, epoch: int, batch_size: int, augment: Augment
) -> list[BatchPlan]:
    """Return the batches of an epoch, with each of `clips` in exactly one; these are distinct indices in any order.

    Order, crop, speed and mixup have one random stream each, seeded by (seed, epoch). Clip i takes the i-th value of
    each stream, so its values depend neither on the other clips nor on the batch size. Clips are sorted by their values
    for the order. Each clip's partner is the next one in the batch; the last clip's partner is the first. A last batch
    of one clip is joined to the one before, because batch norm needs two.

    Raises:
        InputError: there are fewer than two clips, or the seed is negative.
    """
    if len(clips) < 2:
        raise InputError(f"the training split has {len(clips)} clips: training needs at least 2")
    if seed < 0:
        raise InputError(f"seed must be 0 or more, got {seed}")
    order, crop, speed, mix = (
        np.random.Generator(np.random.Philox(stream)) for stream in np.random.SeedSequence((seed, epoch)).spawn(4)
    )
    count = int(clips.max()) + 1
    others = drawn(augment, seed=seed, epoch=epoch, count=count)
    factors, alpha = len(augment.speed_factors), augment.mixup_alpha
    starts = crop.random(count)
    speeds = (speed.random(count) * factors).astype(np.int64)
    weights = mix.beta(alpha, alpha, count) if alpha > 0 else np.ones(count)
    shuffled = clips[np.argsort(order.random(count)[clips])]
    return [
        BatchPlan(
            clip=batch,
            start=starts[batch],
            speed=speeds[batch],
            weight=weights[batch],
            partner=(np.arange(len(batch)) + 1) % len(batch),
            drawn={draw: uniform[batch] for draw, uniform in others.items()},
        )
        for batch in _batches(shuffled, batch_size)
    ]


def crop_bounds(samples: int, fraction: float, crop_samples: int) -> tuple[int, int]:
    """Return (start, count) of a crop in samples, given the start as a fraction in [0, 1) of the possible starts.

    A uniform fraction makes all starts equally likely. A clip that is not longer than the crop is used whole.
    """
    if samples <= crop_samples:
        return 0, samples
    return int(fraction * (samples - crop_samples + 1)), crop_samples


def change_speed(waveform: Tensor, speed: NDArray[np.int64], *, speed_factors: Sequence[float]) -> Tensor:
    """Play each row of (batch, samples) at speed_factors[speed] times its speed: at 1.15 it is higher and shorter.

    Like torchaudio's SpeedPerturbation, this treats the row as sampled at factor times the rate and resamples it to the
    rate. The result is padded with zeros or cut at the end, to the same number of samples. `speed` is (batch,).
    """
    samples = waveform.shape[-1]
    changed = waveform.clone()
    for index, factor in enumerate(speed_factors):
        ratio = Fraction(factor).limit_denominator(_LARGEST_DENOMINATOR)
        chosen = np.flatnonzero(speed == index)
        if ratio == 1 or len(chosen) == 0:
            continue
        rows = torch.from_numpy(chosen).to(waveform.device)
        resampled = resample(waveform[rows], ratio.numerator, ratio.denominator)[:, :samples]
        changed[rows] = functional.pad(resampled, (0, samples - resampled.shape[-1]))
    return changed


def mixup(
    waveform: Tensor, target: Tensor, *, weight: NDArray[np.float64], partner: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """Return weight * x + (1 - weight) * x[partner] for waveforms (clips, samples) and for targets (clips, classes).

    `weight` and `partner` are (batch,) and belong to the first `batch` clips; any further clips are only mixed in. The
    results are (batch, samples) and (batch, classes).
    """
    own = torch.tensor(weight, dtype=waveform.dtype, device=waveform.device).unsqueeze(1)
    rows = torch.from_numpy(partner).to(waveform.device)
    return (
        torch.lerp(waveform[rows], waveform[: len(weight)], own),
        torch.lerp(target[rows], target[: len(weight)], own),
    )


def _batches(clips: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """Split clips into consecutive batches; the last one may be smaller or one clip larger, but never a single clip."""
    cuts = np.arange(batch_size, len(clips), batch_size)
    return np.split(clips, cuts[cuts < len(clips) - 1])
