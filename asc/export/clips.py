"""Real clips to run an export and the stored form on, and the float network to time exports against.

They are of the data that the model was trained on, the test fold excepted; which of the other splits they are in does
not matter, for two forms of one network are compared.
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
    """The data that a model was trained on, or other ones with any labels, without their test fold.

    Raises:
        InputError: the data cannot be opened, or have no labels and so a test fold alone.
    """
    choice = choice_for(info, spec, None, group_from=group_from)
    rate_hz = info.experiment.front_end.sample_rate_hz
    try:
        return open_dataset(choice, sample_rate_hz=rate_hz, cache=cache, splits=SPLITS, progress=progress)
    except InputError as error:
        if spec is not None:
            raise
        raise InputError(
            f"{error}; the gate needs clips such as the model was trained on: give any data set as --data"
        ) from error


class GateClips:
    """Full-length clips of a data set, evenly spread over the first of `SPLITS` that hold enough of them."""

    def __init__(self, dataset: Dataset, network: StoredNet, *, count: int) -> None:
        """Choose `count` clips, or all there are, for exports of this stored network."""
        self._dataset, self._network = dataset, network
        self._log_mel = LogMel(network.front_end)
        self._stored: dict[tuple[int, int | None], Logits] = {}
        self.clips = choose(dataset, count)

    def agreement(
        self, export: Export, *, every: int = 1, limit_steps: int | None = None, progress: Progress
    ) -> Agreement:
        """Run an export on the clips, or on every `every`-th of them, and the stored form on the same.

        `limit_steps` is what is allowed to kernels that compute otherwise than those which the gate is made for.
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
        """Clips (1, samples) in the lengths that an export takes."""
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
    """The numbers of `count` clips, of validation first, then of calibration, then of training; all if there are fewer.

    If more are available, take `count` evenly spaced ones.
    """
    numbers: dict[int, None] = {}
    for split in SPLITS:
        numbers |= dict.fromkeys(map(int, dataset.indices(split)))
        if len(numbers) >= count:
            break
    found = list(numbers)
    return tuple(found[place] for place in np.linspace(0, len(found) - 1, min(count, len(found))).astype(int))


def fitted(waveform: NDArray[np.float32], shortest: int, longest: int | None) -> NDArray[np.float32]:
    """A waveform (samples,) repeated to at least `shortest` samples and cut to at most `longest`."""
    repeated = np.resize(waveform, shortest) if len(waveform) < shortest else waveform
    return repeated[:longest]


def time_export(export: Export, network: StoredNet, *, seconds: float, repeats: int = 11) -> Latency:
    """The time that an export takes for noise of this length, against the float network in torch on one thread.

    That is an untrained network of the same architecture, batch norms not folded, after torch's front end where the
    export takes waveforms.
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
