"""What training and evaluation see of a data set: waveforms, targets and devices of the splits that were opened.

The test clips are out of reach unless they were asked for by name, so a search cannot see them by mistake.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asc.data.choice import DataChoice
from asc.data.manifest import Manifest, load_manifest
from asc.data.packing import Progress
from asc.data.splits import LEARNING_SPLITS
from asc.data.store import Store, open_store
from asc.results import Split


class Dataset:
    """A manifest and its store. Clips are named by their number in the manifest."""

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
        return tuple(sorted({clip.device for clip in self.manifest.clips if clip.split in self._splits}))

    def indices(self, split: Split) -> NDArray[np.int64]:
        """The numbers of the clips of a split, ascending.

        Raises:
            ValueError: the split was not opened.
        """
        self._check(split)
        return np.array([i for i, clip in enumerate(self.manifest.clips) if clip.split == split], dtype=np.int64)

    def waveform(self, i: int, start: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """`count` samples of clip i from `start` (to its end when None), (count,).

        Raises:
            ValueError: the clip's split was not opened, or it has no such samples.
        """
        self._check(self.manifest.clips[i].split)
        return self._store.read(i, start, count)

    def samples(self, i: int) -> int:
        """Length of clip i in samples at `sample_rate_hz`."""
        return self._store.samples(i)

    def target(self, i: int) -> int:
        """The index of clip i's label in `labels`."""
        return self._target_of[self.manifest.clips[i].label]

    def device(self, i: int) -> str:
        """The device that recorded clip i."""
        return self.manifest.clips[i].device

    def group(self, i: int) -> str:
        """The location (or source) at which clip i was recorded."""
        return self.manifest.clips[i].group

    @property
    def trained_devices(self) -> frozenset[str]:
        """The devices of the training split: what a network trained on this set has heard."""
        return frozenset(clip.device for clip in self.manifest.clips if clip.split == "train")

    def _check(self, split: Split) -> None:
        if split not in self._splits:
            raise ValueError(f"split {split} was not opened, only {', '.join(sorted(self._splits))}")


def open_dataset(
    choice: DataChoice,
    *,
    sample_rate_hz: int,
    cache: Path,
    splits: Sequence[Split] = LEARNING_SPLITS,
    progress: Progress | None = None,
) -> Dataset:
    """Open splits of a data set (`synthetic`, `esc10:DIR`, `csv:FILE`, `folder:DIR`), packing its store when needed.

    Raises:
        InputError: anything wrong with the data; one sentence.
    """
    manifest = load_manifest(choice)
    store = open_store(manifest, sample_rate_hz=sample_rate_hz, cache=cache, progress=progress)
    return Dataset(manifest, store, splits=splits)


def default_cache() -> Path:
    """Where stores are kept: $ASC_CACHE, else ~/.cache/asc."""
    named = os.environ.get("ASC_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "asc"
