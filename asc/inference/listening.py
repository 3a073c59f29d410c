"""Log-mel frames of a stream, each computed once when its samples are there: what `LogMel` gives of the whole stream.

Frame t is centred on sample t * hop, so the newest one or two frames lack samples to their right. As in a clip, zeros
stand in for these; such frames are computed again when the samples have come. At another rate than the front end's the
same holds for the resampling, whose filter looks a few samples ahead.

As a clip is (`asc.audio.level`), samples are rounded to 16 bits of a peak, which the front end's noise floor follows
too: the highest peak of the latest steps.
"""

import math
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asc.audio.audio_file import resampled, resampling_ratio
from asc.audio.frontend import LogMel
from asc.audio.level import quantise


class Listener:
    """Collects samples, (samples,) mono at the stream's rate, and gives log-mel frames."""

    def __init__(self, log_mel: LogMel, sample_rate_hz: int, *, steps: int) -> None:
        """Begin at sample 0 of a stream at `sample_rate_hz`; peaks are those of the latest `steps` calls of
        `frames`."""
        self._log_mel = log_mel
        sizes = log_mel.front_end
        self._rate_hz, self._wanted_hz, self._hop = sample_rate_hz, sizes.sample_rate_hz, sizes.hop_samples
        self._before = sizes.dft_points // 2 - (sizes.dft_points - sizes.window_samples) // 2
        self._behind = sizes.window_samples - self._before
        self._ratio = resampling_ratio(sample_rate_hz, sizes.sample_rate_hz)
        # torchaudio's filter has 6 zero crossings on either side; samples of the stream, and at the front end's rate.
        blurred = 0 if self._ratio == 1 else math.ceil(7 * max(1.0, float(1 / self._ratio)))
        self._blurred = -(-blurred * self._ratio.numerator // self._ratio.denominator)
        self._sound: NDArray[np.float32] = np.zeros(0, np.float32)
        self._start = 0  # of _sound in the stream; a multiple of the ratio's denominator
        self._peaks: deque[float] = deque(maxlen=steps)
        self._settled = 0  # frames that will not change any more

    @property
    def heard(self) -> int:
        """Samples of the stream up to now."""
        return self._start + len(self._sound)

    def feed(self, sound: NDArray[np.float32]) -> None:
        """Take the stream's next samples, (samples,)."""
        self._sound = np.concatenate([self._sound, sound])

    def frames(self, heard: int) -> tuple[int, Tensor]:
        """The log-mel frames of the stream up to its sample `heard` that are new or changed.

        They are (bands, count) and replace all from the number that comes with them on. To be called with rising
        numbers of samples, not beyond `heard` of this object.
        """
        start = int(self._start * self._ratio)
        wave = resampled(self._sound[: heard - self._start], self._rate_hz, self._wanted_hz)
        stop = start + len(wave)
        first = self._settled
        base = self._context_of(first)
        if stop - base < self._hop:
            return first, torch.zeros(self._log_mel.front_end.mel_bands, 0)
        with torch.inference_mode():
            rounded = self._rounded(wave[base - start :])
            log_mel = self._log_mel.log_mel(torch.from_numpy(rounded)[None], torch.tensor([max(self._peaks)]))[0, 0]
        ready = (stop - self._blurred - self._behind) // self._hop + 1
        self._settled = max(self._settled, min(ready, stop // self._hop))
        self._forget(self._context_of(self._settled))
        return first, log_mel[:, first - base // self._hop :]

    def _rounded(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        self._peaks.append(float(np.abs(wave).max()))
        return quantise(wave, peak=max(self._peaks)).samples

    def _context_of(self, frame: int) -> int:
        """The sample, at a whole frame, from which on the front end must see the stream to give this frame."""
        return max(0, frame - -(-self._before // self._hop)) * self._hop

    def _forget(self, sample: int) -> None:
        """Drop what lies before a sample at the front end's rate, and before what the resampling of it needs."""
        kept = max(0, sample - 2 * self._blurred)
        start = int(kept / self._ratio) // self._ratio.denominator * self._ratio.denominator
        self._sound = self._sound[start - self._start :]
        self._start = start
