"""The view of a data set for training and evaluation: waveforms, targets and devices of the opened splits.

Test clips can only be read if the test split was opened by name, so a search cannot use them by mistake.
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
    """A manifest and its store. A clip is identified by its index in the manifest.

    With part "all" the train split has every clip and there is no test split. The valid and calibration clips are
    trained on too, so figures on them only show the progress of training.
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
        """The indices of the clips of a split, (clips,) int64, ascending.

        Raises:
            ValueError: the split was not opened, or it is the test split of a set that was opened with part "all".
        """
        if split not in self._splits:
            raise ValueError(f"split {split} was not opened, only {', '.join(sorted(self._splits))}")
        if split == "test" and not self.manifest.held_out:
            raise ValueError(f"{self.manifest.spec} was opened with all its clips for training: it has no test split")
        return self._members(split)

    def waveform(self, i: int, start: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Read `count` samples of clip i from `start` (to its end if None), (count,) float32, full scale 1.

        Raises:
            ValueError: the clip's split was not opened, or the range exceeds the clip.
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
        """The devices of the training split."""
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
    """Open splits of the data set that `load_manifest` reads, and pack its store if needed.

    Raises:
        InputError: the data are faulty, or the set has no labels and splits other than test were asked for.
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
    """The folder of the packed stores: $ASC_CACHE if set, else ~/.cache/asc."""
    named = os.environ.get("ASC_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "asc"
