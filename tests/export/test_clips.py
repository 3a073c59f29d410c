"""The clips of the gate: how they are chosen and cut, and that a correct export agrees with the network on them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_networks import trained

from asc.audio.frontend import LogMel
from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.data.dataset import Dataset, open_dataset
from asc.export.clips import SPLITS, GateClips, choose, fitted
from asc.export.formats import Export, Source
from asc.models.stored import StoredNet


@pytest.fixture(scope="module")
def network(tiny_experiment: Experiment, tiny_dataset: Dataset) -> StoredNet:
    return trained(tiny_experiment, tiny_dataset, storage="int8", steps=20)


class Torch:
    """The stored network as a session; `seen` has the frames or samples of each input."""

    def __init__(self, network: StoredNet, source: Source, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.network, self.source, self.change = network, source, change
        self.log_mel = LogMel(network.front_end)
        self.seen: list[int] = []

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        self.seen.append(x.shape[-1])
        features = self.log_mel(torch.from_numpy(x)) if self.source == "waveform" else torch.from_numpy(x)
        return self.change(self.network(features)).numpy()  # type: ignore[no-any-return]


def export(session: Torch, shortest: int = 1, longest: int | None = None) -> Export:
    return Export(
        source=session.source,
        data=b"",
        files={},
        session=session,
        shortest_samples=shortest,
        longest_samples=longest,
    )


@pytest.mark.parametrize("source", ["log_mel", "waveform"])
def test_a_correct_export_agrees_and_one_with_swapped_labels_does_not(
    network: StoredNet, tiny_dataset: Dataset, source: Source
) -> None:
    clips, told = GateClips(tiny_dataset, network, count=30), []
    honest = clips.agreement(export(Torch(network, source, lambda x: x)), progress=lambda *n: told.append(n))
    assert (honest.clips, honest.largest_difference, honest.passed) == (30, 0.0, True)
    assert told == [(number, 30) for number in range(1, 31)]
    mixed = Torch(network, source, lambda x: x.flip(1))
    assert not clips.agreement(export(mixed), progress=lambda *n: None).passed


def test_export_and_network_get_clips_of_lengths_that_the_export_accepts(
    network: StoredNet, tiny_dataset: Dataset
) -> None:
    clips = GateClips(tiny_dataset, network, count=12)
    for shortest, longest, lengths in ((4800, 4800, {60}), (4400, 5200, {55, 60, 65})):
        session = Torch(network, "log_mel", lambda x: x)
        found = clips.agreement(export(session, shortest, longest), progress=lambda *n: None)
        assert found.largest_difference == 0.0 and set(session.seen) == lengths


@pytest.mark.parametrize("count", [3, 20, 10_000])
def test_clips_are_never_from_the_test_fold(tiny_dataset: Dataset, count: int) -> None:
    chosen = choose(tiny_dataset, count)
    splits = [tiny_dataset.manifest.clips[clip].split for clip in chosen]
    assert len(set(chosen)) == len(chosen) == min(count, sum(len(tiny_dataset.indices(split)) for split in SPLITS))
    assert set(splits) <= set(SPLITS) and splits[0] == "valid"


def test_a_few_clips_come_from_validation_and_have_all_labels(tiny_dataset: Dataset) -> None:
    chosen = choose(tiny_dataset, 8)
    assert set(chosen) <= set(tiny_dataset.indices("valid").tolist())
    assert {tiny_dataset.target(clip) for clip in chosen} == {0, 1, 2, 3}


def test_a_final_model_is_checked_on_its_training_clips(tiny_dataset: Dataset, tiny_cache: Path) -> None:
    choice = DataChoice(tiny_dataset.manifest.spec, part="all")
    final = open_dataset(choice, sample_rate_hz=8000, cache=tiny_cache, splits=SPLITS)
    assert len(choose(final, 10_000)) == len(final.manifest.clips) == 96


def test_a_waveform_is_repeated_or_cut_to_fit() -> None:
    clip = np.arange(5, dtype=np.float32)
    assert fitted(clip, 1, None).tolist() == [0, 1, 2, 3, 4]
    assert fitted(clip, 8, 8).tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert fitted(clip, 2, 3).tolist() == [0, 1, 2]
