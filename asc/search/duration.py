"""Estimates how long a search and its packing will take here, from a training step and some clips that are timed."""

import contextlib
import os
import time
from collections.abc import Sequence

import torch

from asc.audio.frontend import LogMel
from asc.config.experiment import Experiment
from asc.data.sources import Source, sources_of
from asc.errors import AudioProblem, counted
from asc.models.build import build_network
from asc.models.network import Network
from asc.search.plan import SearchPlan
from asc.search.rungs import MOST_OF_PLANNED, planned_epochs
from asc.search.settings import SearchSettings
from asc.size.law import cost

_CLIPS_MEASURED = 50
_CLIPS_DECODED = 8


def estimate(plan: SearchPlan, span: tuple[float, float]) -> str:
    """Text to print: how long the search may take on this machine; `span` is from `minutes`."""
    shortest, longest = span
    teachers = f", {counted(plan.settings.teachers, 'teacher')}" if plan.settings.teachers else ""
    finals = f"{teachers} and {counted(plan.settings.finals, 'final')}" if plan.settings.finals else ""
    return (
        f"{counted(plan.settings.trials, 'trial')}{finals}, {plan.settings.max_concurrent} at a time: "
        f"{_span(shortest, longest)} here, without packing and start; nothing was trained"
    )


def _span(shortest: float, longest: float) -> str:
    """Minutes for people; from three hours on, hours."""
    if longest < 1:
        return "less than a minute"
    if longest < 180:
        return f"about {shortest:.0f} to {longest:.0f} minutes"
    return f"about {shortest / 60:.0f} to {longest / 60:.0f} hours"


def minutes(plan: SearchPlan) -> tuple[float, float]:
    """Estimate minutes from one timed step on noise: (early stopping saves half of the epochs, it saves none).

    A search by promotion takes between the planned epochs and `MOST_OF_PLANNED` times as many. Nothing saves epochs of
    the finals.
    """
    base = plan.base
    front_s, step_s, forward_s = _time_one_crop(base, plan.settings.cpus_per_trial)
    reference = cost(base).macs_per_second
    # About a third of a step, by measurement, does not grow with the MACs (batch norm, fake quantisation).
    scale = 0.3 + 0.7 * plan.preview.mean_macs_per_second / reference
    train_clips = sum(clip.split == "train" for clip in plan.manifest.clips)
    valid_crops = _valid_seconds(plan) / base.augment.crop_s
    epoch_s = train_clips * (front_s + step_s * scale) + valid_crops * forward_s * scale
    fewest, most = _epochs(plan)
    at_a_time, finals = plan.settings.max_concurrent, _final_epochs(plan.settings)
    shortest, longest = ((epochs / at_a_time + finals) * epoch_s / 60 for epochs in (fewest, most))
    return shortest, longest


def _epochs(plan: SearchPlan) -> tuple[float, float]:
    """The fewest and the most epochs of all trials together that are to be expected."""
    settings, schedule = plan.settings, plan.base.schedule
    whole = float(settings.trials * schedule.epochs)
    if settings.asha == "stopping":
        return whole / 2, whole
    planned = planned_epochs(settings, schedule)
    return min(whole, planned), min(whole, MOST_OF_PLANNED * planned)


def _final_epochs(settings: SearchSettings) -> float:
    """The epochs of the finals, one after the other; those that run at the same time count once.

    The epoch of a larger teacher counts as many times as it is larger than the budget.
    """
    rounds = settings.finals / max(1, min(settings.max_concurrent, settings.finals))
    if settings.teacher_kb is not None:
        at_a_time = max(1, min(settings.max_concurrent, settings.teachers))
        rounds += settings.teachers / at_a_time * settings.teacher_kb / settings.budget_kb
    return rounds * (settings.final_cycles or 0) * (settings.final_epochs or 0)


def packing_seconds(plan: SearchPlan, rates_hz: Sequence[int]) -> float:
    """Estimate the seconds to pack all clips at these sample rates here, from a few clips that are decoded.

    Clips that cannot be used count as nothing: packing names them all.
    """
    sources, cores = sources_of(plan.manifest), len(os.sched_getaffinity(0))
    chosen = sources[:: max(1, len(sources) // _CLIPS_DECODED)][:_CLIPS_DECODED]
    return sum(_decoding_seconds(chosen, rate_hz) for rate_hz in rates_hz) * len(sources) / max(1, len(chosen)) / cores


def packing(plan: SearchPlan, rates_hz: Sequence[int]) -> str:
    """Text to print: at which sample rates the audio must be packed first, and how long that may take."""
    where = "on this machine" if plan.settings.local else "on each machine that does not share the cache"
    rates = " and ".join(f"{rate:,}" for rate in rates_hz)
    seconds = max(1, round(packing_seconds(plan, rates_hz)))
    return f"packing {len(plan.manifest.clips):,} clips at {rates} Hz: about {seconds} s, once {where}"


def _decoding_seconds(sources: Sequence[Source], rate_hz: int) -> float:
    """Seconds to decode these sources at a rate, by one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _decode(sources[:1], rate_hz)  # imports and caches are not timed
        started = time.perf_counter()
        _decode(sources, rate_hz)
        return time.perf_counter() - started
    finally:
        torch.set_num_threads(before)


def _decode(sources: Sequence[Source], rate_hz: int) -> None:
    for source in sources:
        with contextlib.suppress(AudioProblem):
            source.heard(rate_hz)


def _valid_seconds(plan: SearchPlan) -> float:
    """Seconds of audio in the validation split, estimated from the headers of its first files."""
    rate = plan.base.front_end.sample_rate_hz
    chosen = [s for s, c in zip(sources_of(plan.manifest), plan.manifest.clips, strict=True) if c.split == "valid"]
    measured = chosen[:_CLIPS_MEASURED]
    return sum(source.samples(rate) for source in measured) / rate * len(chosen) / max(1, len(measured))


def _time_one_crop(base: Experiment, threads: int) -> tuple[float, float, float]:
    """Seconds per crop: front end, training step without the front end, forward pass. No weight is changed."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        batch = min(16, base.schedule.batch_size)
        waveform = torch.randn(batch, round(base.augment.crop_s * base.front_end.sample_rate_hz))
        log_mel, network = LogMel(base.front_end), _network(base)
        network.train()
        network(log_mel(waveform)).sum().backward()
        times = [time.perf_counter()]
        features = log_mel(waveform)
        times.append(time.perf_counter())
        output = network(features)
        times.append(time.perf_counter())
        output.sum().backward()
        times.append(time.perf_counter())
    finally:
        torch.set_num_threads(before)
    front, forward, backward = (later - earlier for earlier, later in zip(times, times[1:], strict=False))
    return front / batch, (forward + backward) / batch, forward / batch


def _network(base: Experiment) -> Network:
    return build_network(base.architecture, base.front_end, seed=0, storage=base.compression.storage)
