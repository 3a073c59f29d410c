"""The one evaluation: run a network on the full-length clips of a split, with the front end of its training."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asc.audio.frontend import LogMel
from asc.config.front_end import FrontEnd
from asc.data.dataset import Dataset, open_dataset
from asc.data.manifest import load_manifest
from asc.errors import InputError
from asc.evaluation.bootstrap import intervals
from asc.evaluation.caveats import choice_for, refuse_training_clips
from asc.evaluation.metrics import confusion, evaluation, reliability
from asc.model_file.model_info import ModelInfo
from asc.models.workers import ALONE, Workers
from asc.results import Evaluation, Examination, Split

Network = Callable[[Tensor], Tensor]
Numbers = NDArray[np.int64]

_FRAMES_PER_BATCH = 4_000
_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """A network's predictions for the clips of a split, in the set's order.

    `probabilities` is (clips, classes) float64, the columns in the order of `labels`.
    """

    filenames: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: NDArray[np.float64]


class Evaluator:
    """Evaluates networks on one split. Log-mel features are computed once and kept if they take at most 256 MiB."""

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        front_end: FrontEnd,
        device: torch.device,
        *,
        own: bool = True,
        workers: Workers = ALONE,
    ) -> None:
        """Prepare the split's clips in batches of equal length, which are dealt out to the workers.

        `own` says that the networks were trained on this data set; only then is it known which devices they heard.

        Raises:
            InputError: the split has no clips.
        """
        self._dataset, self._split, self._device, self._workers = dataset, split, device, workers
        self._trained_devices = dataset.trained_devices if own else frozenset()
        self._log_mel = LogMel(front_end).to(device)
        clips = dataset.indices(split)
        if len(clips) == 0:
            raise InputError(
                f"{dataset.manifest.spec} has no clip in the {split} split: choose another split or data set"
            )
        self._batches = list(_equal_lengths(dataset, clips, front_end.hop_samples))
        frames = sum(dataset.samples(clip) // front_end.hop_samples for clip in clips)
        self._keep = frames * front_end.mel_bands * 4 <= _CACHE_BYTES
        self._features: dict[int, Tensor] = {}

    def logits(self, network: Network) -> tuple[Tensor, Tensor]:
        """Compute the logits of the split, (clips, classes) float64, and the clips' indices, (clips,); both on the CPU.

        On a CPU the network runs on one clip at a time, as in `asc.inference.predict`. In a batch, floats are summed in
        another order. That can change how a value is rounded to 8 bits, and so a probability. For clips of 10 s this
        takes no longer than batches, for clips of 1 s twice as long.
        """
        return self._logits(network, each_alone=self._device.type == "cpu")

    @torch.no_grad()
    def _logits(self, network: Network, *, each_alone: bool) -> tuple[Tensor, Tensor]:
        clips, workers = np.concatenate(self._batches), self._workers
        logits = torch.zeros(len(clips), len(self._dataset.labels), dtype=torch.float64, device=self._device)
        for number, rows in enumerate(torch.split(logits, [len(batch) for batch in self._batches])):
            if number % workers.count == workers.rank:
                features = self._batch_features(number)
                parts = torch.split(features, 1 if each_alone else len(features))
                rows.copy_(torch.cat([network(part) for part in parts]))
        return workers.sum(logits).cpu(), torch.from_numpy(clips)

    def evaluate(self, network: Network) -> Evaluation:
        """Compute figures without intervals, for use after every epoch.

        The network maps log-mel (batch, 1, bands, frames) to logits (batch, classes). For speed, clips of equal length
        share a batch on a CPU too, unlike in `logits`.
        """
        return self._figures(*self._logits(network, each_alone=False))

    def judge(self, network: Network) -> Evaluation:
        """Compute figures from `logits`, with bootstrap intervals: for the stored network, not after every epoch."""
        return self._with_intervals(*self.logits(network))

    def examine(self, logits: Tensor, clips: Tensor) -> Examination:
        """Examine the result of `logits`: figures with bootstrap intervals, confusion matrix, reliability bins."""
        targets = self._targets(clips)
        return Examination(
            evaluation=self._with_intervals(logits, clips),
            labels=self._dataset.labels,
            confusion=confusion(logits, targets),
            reliability=reliability(logits, targets),
        )

    def predictions(self, logits: Tensor, clips: Tensor, labels: tuple[str, ...]) -> Predictions:
        """Turn the result of `logits` into probabilities, for labelled or unlabelled clips, sorted by clip index.

        `labels` are the network's.
        """
        order = torch.argsort(clips)
        return Predictions(
            filenames=tuple(self._dataset.manifest.clips[clip].path for clip in clips[order].tolist()),
            labels=labels,
            probabilities=torch.softmax(logits[order].double(), dim=1).numpy(),
        )

    def _figures(self, logits: Tensor, clips: Tensor) -> Evaluation:
        return evaluation(
            logits,
            self._targets(clips),
            labels=self._dataset.labels,
            devices=[self._dataset.device(clip) for clip in clips.tolist()],
            split=self._split,
            trained_devices=self._trained_devices,
        )

    def _with_intervals(self, logits: Tensor, clips: Tensor) -> Evaluation:
        groups = [self._dataset.group(clip) for clip in clips.tolist()]
        found = intervals(logits, self._targets(clips), groups)
        return dataclasses.replace(self._figures(logits, clips), intervals=found)

    def _targets(self, clips: Tensor) -> Tensor:
        return torch.tensor([self._dataset.target(clip) for clip in clips.tolist()])

    def _batch_features(self, number: int) -> Tensor:
        if number in self._features:
            return self._features[number]
        waveforms = np.stack([self._dataset.waveform(int(clip)) for clip in self._batches[number]])
        features: Tensor = self._log_mel(torch.from_numpy(waveforms).to(self._device))
        if self._keep:
            self._features[number] = features
        return features


def _equal_lengths(dataset: Dataset, clips: Numbers, hop_samples: int) -> Iterator[Numbers]:
    """Yield batches of clip indices, (batch,) int64, whose waveforms have the same length."""
    lengths = np.array([dataset.samples(int(clip)) for clip in clips])
    for length in np.unique(lengths):
        same = clips[lengths == length]
        size = max(1, _FRAMES_PER_BATCH // max(1, int(length) // hop_samples))
        yield from np.split(same, range(size, len(same), size))


def open_for(
    info: ModelInfo,
    spec: str | None,
    split: Split,
    *,
    cache: Path,
    progress: Callable[[int, int], None],
    device_irs: str | None = None,
    group_from: str | None = None,
) -> Dataset:
    """Open the data to evaluate a model on: `spec`, or else its training data, split as in training.

    `device_irs` selects other devices than in training; `group_from` is the group pattern for other data (see
    `asc.evaluation.caveats.choice_for`).

    Raises:
        InputError: the labels differ from the model's, the data cannot be opened, they have no such split, or the model
            was trained on all of their clips.
    """
    choice = choice_for(info, spec, device_irs, group_from=group_from)
    refuse_training_clips(info, choice)
    labels = load_manifest(choice).labels
    if split == "confirmation" and choice.part != "confirmed":
        raise InputError(
            "the model's data have no confirmation split, which only a search with --final-top sets aside if its "
            "trials are calibrated: evaluate on calibration or test"
        )
    if labels != info.labels:  # before anything is packed
        raise InputError(
            f"{choice.spec} has the labels {', '.join(labels)}, but the model knows {', '.join(info.labels)}: "
            "give data with the model's labels"
        )
    return open_dataset(
        choice,
        sample_rate_hz=info.experiment.front_end.sample_rate_hz,
        cache=cache,
        splits=(split,),
        progress=progress,
    )
