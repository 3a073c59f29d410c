"""What training and evaluation see of a data set: waveforms, targets and devices of the splits that were opened.

The test clips are out of reach unless they were asked for by name, so a search cannot see them by mistake.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asc.config.data_choice import DataChoice
from asc.data.manifest import Manifest, load_manifest
from asc.data.packing import Progress
from asc.data.splits import LEARNING_SPLITS
from asc.data.store import Store, open_store
from asc.errors import InputError
from asc.results import Split


class Dataset:
    """A manifest and its store. Clips are named by their number in the manifest.

    Of a set opened with part "all" the train split is every clip: those of valid and calibration are trained on as
    well, so that figures on them only show how a training goes, and there is no test split.
    """

    def __init__(self, manifest: Manifest, store: Store, *, splits: Sequence[Split]) -> None:
        """Open only these splits of a manifest."""
        self.manifest = manifest
        self.sample_rate_hz = store.sample_rate_hz
        self._store = store
        self._splits = frozenset(splits)
        self._target_of = {label: target for target, label in enumerate(manifest.labels)}

    @property
    def labels(self) -> tuple[str, ...]:
        """The sorted labels; a target is an index into them."""
        return self.manifest.labels

    @property
    def devices(self) -> tuple[str, ...]:
        """The sorted devices of the opened splits."""
        return tuple(sorted({self.device(int(i)) for split in self._splits for i in self._members(split)}))

    def indices(self, split: Split) -> NDArray[np.int64]:
        """The numbers of the clips of a split, ascending.

        Raises:
            ValueError: the split was not opened, or it is the test split of a set whose clips are all trained on.
        """
        if split not in self._splits:
            raise ValueError(f"split {split} was not opened, only {', '.join(sorted(self._splits))}")
        if split == "test" and not self.manifest.held_out:
            raise ValueError(f"{self.manifest.spec} was opened with all its clips for training: it has no test split")
        return self._members(split)

    def waveform(self, i: int, start: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """`count` samples of clip i from `start` (to its end when None), (count,).

        Raises:
            ValueError: the clip's split was not opened, or it has no such samples.
        """
        split = self.manifest.clips[i].split
        if split not in self._splits and (self.manifest.held_out or "train" not in self._splits):
            raise ValueError(f"split {split} was not opened, only {', '.join(sorted(self._splits))}")
        return self._store.read(i, start, count)

    def samples(self, i: int) -> int:
        """Length of clip i in samples at `sample_rate_hz`."""
        return self._store.samples(i)

    def target(self, i: int) -> int:
        """The index of clip i's label in `labels`.

        Raises:
            ValueError: the clip has no label.
        """
        clip = self.manifest.clips[i]
        if clip.label is None:
            raise ValueError(f"clip {clip.path} of {self.manifest.spec} has no label")
        return self._target_of[clip.label]

    def device(self, i: int) -> str:
        """The device that recorded clip i."""
        return self.manifest.clips[i].device

    def group(self, i: int) -> str:
        """The location (or source) at which clip i was recorded."""
        return self.manifest.clips[i].group

    @property
    def trained_devices(self) -> frozenset[str]:
        """The devices of the training split: what a network trained on this set has heard."""
        return frozenset(self.device(int(i)) for i in self._members("train"))

    def _members(self, split: Split) -> NDArray[np.int64]:
        every = split == "train" and not self.manifest.held_out
        members = [i for i, clip in enumerate(self.manifest.clips) if every or clip.split == split]
        return np.array(members, dtype=np.int64)


def open_dataset(
    choice: DataChoice,
    *,
    sample_rate_hz: int,
    cache: Path,
    splits: Sequence[Split] = LEARNING_SPLITS,
    progress: Progress | None = None,
) -> Dataset:
    """Open splits of a data set (as `load_manifest` knows them), packing its store when needed.

    Raises:
        InputError: anything wrong with the data, or splits of a set without labels other than test; one sentence.
    """
    manifest = load_manifest(choice)
    if not manifest.labelled and set(splits) != {"test"}:
        raise InputError(
            f"{manifest.spec} is an evaluation set without labels, so nothing can be trained or measured on it: give a "
            "development set, or predict its clips with --split test"
        )
    store = open_store(manifest, sample_rate_hz=sample_rate_hz, cache=cache, progress=progress)
    return Dataset(manifest, store, splits=splits)


def default_cache() -> Path:
    """Where stores are kept: $ASC_CACHE, else ~/.cache/asc."""
    named = os.environ.get("ASC_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "asc"
