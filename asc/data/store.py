"""The packed store: all clips of a set as mono at one rate, 16 bits with a gain per clip, memory-mapped.

All trials on a machine share it. Its folder holds `audio.i16` (raw little-endian samples of all clips, in manifest
order) and `index.json`. The folder name is a fingerprint of the sources, so any changed source makes a new store;
splits do not affect it. Clips need a gain because scenes are quiet: at -50 dBFS plain 16-bit samples keep only 8 bits.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asc.atomic_folder import locked
from asc.data.manifest import Manifest
from asc.data.packing import Progress, lengths, pack
from asc.data.sources import Source, sources_of
from asc.data.store_index import AUDIO_FILE, SAMPLE_BYTES, Index, read_index

STORE_VERSION = 1
_INDEX_CLIP_BYTES = 64
_log = logging.getLogger(__name__)


class Store:
    """The clips of a set, by their index in the manifest. Reading a clip loads only the pages it needs."""

    def __init__(self, folder: Path, index: Index, *, sample_rate_hz: int) -> None:
        """Memory-map the audio of a complete store (see `open_store`)."""
        self.folder = folder
        self.sample_rate_hz = sample_rate_hz
        self._index = index
        self._audio = np.memmap(folder / AUDIO_FILE, dtype="<i2", mode="r")

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._index.samples)

    @property
    def size_bytes(self) -> int:
        """Size of the audio on disk."""
        return int(self._audio.nbytes)

    def samples(self, i: int) -> int:
        """Length of clip i in samples."""
        return self._index.samples[i]

    def gain(self, i: int) -> float:
        """Amplitude of one integer step of clip i."""
        return self._index.gains[i]

    def read(self, i: int, start: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Read `count` samples of clip i from `start` (to its end if None), (count,) float32, full scale 1.

        Raises:
            ValueError: the range exceeds the clip.
        """
        stop = self.samples(i) if count is None else start + count
        if not 0 <= start <= stop <= self.samples(i):
            raise ValueError(f"clip {i} has {self.samples(i)} samples, not {start} to {stop}")
        offset = self._index.offsets[i]
        sound: NDArray[np.float32] = self._audio[offset + start : offset + stop] * np.float32(self.gain(i))
        return sound


def open_store(manifest: Manifest, *, sample_rate_hz: int, cache: Path, progress: Progress | None = None) -> Store:
    """Open the store of a data set at a rate, below `cache`; pack it if it is missing, incomplete or outdated.

    While packing, `progress` is called with (clips done, total clips). If several processes want the same store, one
    packs it and the others wait. The one that packs logs warnings about skipped files and suspicious levels.

    Raises:
        InputError: files are unusable (all are named), the disk has too little space, or `cache` is not writable.
    """
    sources = sources_of(manifest)
    folder = _folder(sources, sample_rate_hz, cache)
    index = read_index(folder)
    if index is None:
        with locked(cache / f"{folder.name}.lock"):
            index = read_index(folder)  # another process may have packed it while this one waited
            if index is None:
                found = pack(folder, sources, sample_rate_hz=sample_rate_hz, progress=progress)
                for line in (*manifest.notes, *found):
                    _log.warning(line)
                index = read_index(folder)
    if index is None:
        raise RuntimeError(f"{folder} was packed but cannot be read back")
    return Store(folder, index, sample_rate_hz=sample_rate_hz)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSize:
    """The size of a store on disk, and whether it already exists."""

    size_bytes: int
    there: bool


def store_size(manifest: Manifest, *, sample_rate_hz: int, cache: Path) -> StoreSize:
    """Return an upper bound of the size of the store that `open_store` opens or packs, from the file headers.

    Unusable files count as 0 bytes; packing reports them.
    """
    sources = sources_of(manifest)
    index = read_index(_folder(sources, sample_rate_hz, cache))
    if index is not None:
        samples = sum(index.samples)
    else:
        files = {source.name: source for source in sources}  # one may be heard through several devices
        found = dict(zip(files, lengths(list(files.values()), sample_rate_hz), strict=True))
        samples = sum(length for source in sources if isinstance(length := found[source.name], int))
    return StoreSize(
        size_bytes=SAMPLE_BYTES * samples + _INDEX_CLIP_BYTES * (len(sources) + 1), there=index is not None
    )


def store_folder(manifest: Manifest, *, sample_rate_hz: int, cache: Path) -> Path:
    """Return the folder of the store of a data set at a rate, whether it is packed or not."""
    return _folder(sources_of(manifest), sample_rate_hz, cache)


def _folder(sources: Sequence[Source], sample_rate_hz: int, cache: Path) -> Path:
    parts = [STORE_VERSION, sample_rate_hz, *(source.identity for source in sources)]
    return cache / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
