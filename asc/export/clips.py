"""Compares an export with the stored form on real clips, and times it against the float network.

The clips come from the data that the model was trained on, without the test fold. Any other split will do, because
two forms of the same network are compared.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asc.audio.frontend import LogMel
from asc.data.dataset import Dataset, open_dataset
from asc.errors import InputError
from asc.evaluation.caveats import choice_for
from asc.export.formats import Export
from asc.export.gate import Agreement, Latency, Logits, agreement, allowed, latency
from asc.model_file.model_info import ModelInfo
from asc.models.build import build
from asc.models.stored import StoredNet
from asc.results import Split

SPLITS: tuple[Split, ...] = ("valid", "calibration", "train")

Progress = Callable[[int, int], None]


def open_clips(
    info: ModelInfo, spec: str | None, *, group_from: str | None = None, cache: Path, progress: Progress
) -> Dataset:
    """Open the data set that a model was trained on, or the one of `spec` with any labels, without its test fold.

    Raises:
        InputError: the data cannot be opened, or have no labels, so that all clips are test clips.
    """
    choice = choice_for(info, spec, None, group_from=group_from)
    rate_hz = info.experiment.front_end.sample_rate_hz
    try:
        return open_dataset(choice, sample_rate_hz=rate_hz, cache=cache, splits=SPLITS, progress=progress)
    except InputError as error:
        if spec is not None:
            raise
        raise InputError(
            f"{error}; an export is checked on clips like those that the model was trained on: "
            "give any such data set as --data"
        ) from error


class GateClips:
    """Full-length clips of a data set, evenly spaced in as many of `SPLITS`, in order, as it takes to have enough."""

    def __init__(self, dataset: Dataset, network: StoredNet, *, count: int) -> None:
        """Choose `count` clips, or all if there are fewer, to check exports of this stored network on."""
        self._dataset, self._network = dataset, network
        self._log_mel = LogMel(network.front_end)
        self._stored: dict[tuple[int, int | None], Logits] = {}
        self.clips = choose(dataset, count)

    def agreement(
        self, export: Export, *, every: int = 1, limit_steps: int | None = None, progress: Progress
    ) -> Agreement:
        """Compare an export with the stored form on every `every`-th clip.

        `limit_steps` replaces the gate's own limit, for kernels that round differently.
        """
        found, count = [], len(self.clips[::every])
        for number, waveform in enumerate(self._waveforms(export, every), start=1):
            x = waveform if export.source == "waveform" else self._features(waveform)
            found.append(export.session.logits(x)[0])
            progress(number, count)
        stored = self._stored_logits(export)[::every]
        limits = allowed(self._network, stored, source=export.source)
        if limit_steps is not None:
            limits = dataclasses.replace(limits, limit_steps=limit_steps)
        return agreement(np.stack(found), stored, limits)

    def _waveforms(self, export: Export, every: int = 1) -> Iterator[NDArray[np.float32]]:
        """Yield clips (1, samples) float32, repeated or cut to a length that the export takes."""
        for clip in self.clips[::every]:
            yield fitted(self._dataset.waveform(clip), export.shortest_samples, export.longest_samples)[None]

    def _stored_logits(self, export: Export) -> Logits:
        lengths = (export.shortest_samples, export.longest_samples)
        if lengths not in self._stored:
            features = (self._features(waveform) for waveform in self._waveforms(export))
            rows = [self._network(torch.from_numpy(x)).numpy() for x in features]
            self._stored[lengths] = np.concatenate(rows)
        return self._stored[lengths]

    def _features(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            features: NDArray[np.float32] = self._log_mel(torch.from_numpy(waveform)).numpy()
        return features


def choose(dataset: Dataset, count: int) -> tuple[int, ...]:
    """Return the indices of `count` clips, or of all if there are fewer: validation first, then calibration, training.

    If the splits needed hold more, take `count` evenly spaced ones.
    """
    numbers: dict[int, None] = {}
    for split in SPLITS:
        numbers |= dict.fromkeys(map(int, dataset.indices(split)))
        if len(numbers) >= count:
            break
    found = list(numbers)
    return tuple(found[place] for place in np.linspace(0, len(found) - 1, min(count, len(found))).astype(int))


def fitted(waveform: NDArray[np.float32], shortest: int, longest: int | None) -> NDArray[np.float32]:
    """Repeat a waveform (samples,) to at least `shortest` samples and cut it to at most `longest`."""
    repeated = np.resize(waveform, shortest) if len(waveform) < shortest else waveform
    return repeated[:longest]


def time_export(export: Export, network: StoredNet, *, seconds: float, repeats: int = 11) -> Latency:
    """Time an export on noise of this length against the float network in torch, on one thread.

    The float network is untrained, has the same architecture, and its batch norms are not folded. Where the export
    takes waveforms, its time includes torch's front end.
    """
    rate_hz = network.front_end.sample_rate_hz
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, round(seconds * rate_hz)))
    waveform, log_mel = noise.astype(np.float32), LogMel(network.front_end)
    float_net = build(network.topology, network.front_end, seed=0, storage="float16").eval()
    features = log_mel(torch.from_numpy(waveform))
    x = waveform if export.source == "waveform" else features.numpy()

    def reference() -> None:
        float_net(log_mel(torch.from_numpy(waveform)) if export.source == "waveform" else features)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            return latency(lambda: export.session.logits(x), reference, seconds=seconds, repeats=repeats)
    finally:
        torch.set_num_threads(threads)
