"""Log-mel frames of a stream, computed step by step, as `LogMel` computes them for the whole stream.

Frame t is centred on sample t * hop, so the newest one or two frames lack samples to their right. As at the end of a
clip, zeros stand in for them, and these frames are computed again after the samples have arrived. If the stream must be
resampled, the newest samples are also computed again, because the filter looks a few samples ahead.

Like clips (`asc.audio.level`), samples are rounded to 16 bits relative to a peak, here the highest peak of the latest
steps. The front end's noise floor follows the same peak.
"""

import math
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asc.audio.frontend import LogMel
from asc.audio.level import quantise
from asc.audio.sound import resampled, resampling_ratio


class Listener:
    """Collects mono samples, (samples,) at the stream's rate, and computes log-mel frames."""

    def __init__(self, log_mel: LogMel, sample_rate_hz: int, *, steps: int) -> None:
        """Begin at sample 0 of a stream at `sample_rate_hz`; keep the peaks of the latest `steps` calls of `frames`."""
        self._log_mel = log_mel
        sizes = log_mel.front_end
        self._rate_hz, self._wanted_hz, self._hop = sample_rate_hz, sizes.sample_rate_hz, sizes.hop_samples
        self._before = sizes.dft_points // 2 - (sizes.dft_points - sizes.window_samples) // 2
        self._behind = sizes.window_samples - self._before
        self._ratio = resampling_ratio(sample_rate_hz, sizes.sample_rate_hz)
        # torchaudio's filter has 6 zero crossings on either side. `blurred` is its reach in samples of the stream,
        # `_blurred` the same at the front end's rate.
        blurred = 0 if self._ratio == 1 else math.ceil(7 * max(1.0, float(1 / self._ratio)))
        self._blurred = -(-blurred * self._ratio.numerator // self._ratio.denominator)
        self._sound: NDArray[np.float32] = np.zeros(0, np.float32)
        self._start = 0  # stream position of _sound[0]; a multiple of the ratio's denominator
        self._peaks: deque[float] = deque(maxlen=steps)
        self._settled = 0  # number of frames that will not change any more

    @property
    def heard(self) -> int:
        """Number of samples received so far."""
        return self._start + len(self._sound)

    def feed(self, sound: NDArray[np.float32]) -> None:
        """Append the stream's next samples, (samples,) float32, full scale 1."""
        self._sound = np.concatenate([self._sound, sound])

    def frames(self, heard: int) -> tuple[int, Tensor]:
        """Return new and changed log-mel frames up to sample `heard`: (number of the first one, log-mel).

        The log-mel is (bands, count) float32, natural log, and replaces all frames from that number on. Call
        this with increasing `heard`, at most `self.heard`.
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
        """Return the first sample (at the front end's rate) that a frame needs, rounded down to a whole hop."""
        return max(0, frame - -(-self._before // self._hop)) * self._hop

    def _forget(self, sample: int) -> None:
        """Drop samples that are not needed to compute the resampled stream from `sample` (at its rate) on."""
        kept = max(0, sample - 2 * self._blurred)
        start = int(kept / self._ratio) // self._ratio.denominator * self._ratio.denominator
        self._sound = self._sound[start - self._start :]
        self._start = start
