"""What a stream keeps of its window: log-mel frames, the sums of each of its pieces, and the peaks of its steps."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asc.audio.level_notes import level_note


class Frames:
    """The latest log-mel frames of a stream, by frame number. Each frame is copied a bounded number of times."""

    def __init__(self, bands: int, most: int) -> None:
        """Keep at least the latest `most` frames."""
        self._data, self._first, self._most = torch.zeros(bands, 2 * most), 0, most
        self.stop = 0

    def put(self, start: int, frames: Tensor) -> None:
        """Replace all frames from number `start` on by these, (bands, count)."""
        self.stop = start + frames.shape[1]
        if self.stop - self._first > self._data.shape[1]:
            first = self.stop - self._most
            kept = self._data[:, first - self._first : start - self._first].clone()
            self._data[:, : start - first], self._first = kept, first
        self._data[:, start - self._first : self.stop - self._first] = frames

    def get(self, start: int, stop: int) -> Tensor:
        """Return a view of frames, (bands, stop - start)."""
        return self._data[:, start - self._first : stop - self._first]


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of values, (...) float64, and the number of summed columns."""

    values: Tensor
    count: int

    def __add__(self, other: "Sums") -> "Sums":
        """The sums over the columns of both."""
        return Sums(self.values + other.values, self.count + other.count)

    def __sub__(self, other: "Sums") -> "Sums":
        """The sums without the columns of the other, which they contain."""
        return Sums(self.values - other.values, self.count - other.count)

    @property
    def mean(self) -> Tensor:
        """The mean over the columns."""
        return self.values / self.count


@dataclass(slots=True)
class Piece:
    """One step of a stream: its frames from `start` to `stop`, and its sums of every quantity."""

    start: int
    stop: int
    sums: list[Sums]


class Levels:
    """Peaks of the latest steps of a stream: of the mean of its channels, and of any channel."""

    def __init__(self, steps: int) -> None:
        """Keep the peaks of the latest `steps` steps."""
        self._peaks: deque[NDArray[np.float32]] = deque(maxlen=steps)
        self._rest, self._done = np.zeros((2, 0), np.float32), 0

    def feed(self, sound: NDArray[np.float32], loudest: NDArray[np.float32] | None) -> None:
        """Take the stream's next samples, both (samples,)."""
        mean = np.abs(sound)
        more = np.stack([mean, mean if loudest is None else loudest])
        self._rest = np.concatenate([self._rest, more], axis=1)

    def step(self, samples: int) -> None:
        """End a step at this number of samples since the start of the stream."""
        count = samples - self._done
        self._peaks.append(self._rest[:, :count].max(axis=1))
        self._rest, self._done = self._rest[:, count:], samples

    def note(self) -> str | None:
        """Return a warning if the level of these steps is suspicious, else None."""
        peak, loudest = np.max(self._peaks, axis=0).tolist()
        return level_note(peak, loudest)
