"""What a clip sounds like through a microphone: convolution with its measured impulse response.

As TAU's simulated devices were made (Heittola et al. 2020, arXiv:2005.14623, section 2), without their compression.
The response is resampled to the rate of the clip and convolved in full, by FFT (overlap-add). Its highest peak is put
at time 0, so the clip keeps its moment, and the clip keeps its length. Its gain is such that pink noise, equal power
in every octave from 50 Hz up, keeps its RMS: everyday sound is nearer to pink than to white, so devices differ in
colour and hardly in loudness.
"""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asc.audio.audio_file import decode, inspect
from asc.errors import AudioProblem

LOWEST_HZ = 50.0
CHECKED_AT_HZ = 44_100
VERSION = 1  # of the convolution: a store packed by another version is not reused


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A device's impulse response in a file, by the content that was checked."""

    device: str
    path: Path
    sha256: str

    @property
    def identity(self) -> str:
        """Text that is equal exactly when the device sounds the same; the file's place is not part of it."""
        return f"{self.device} {self.sha256} v{VERSION}"

    def heard(self, sound: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
        """A sound through the device: (samples,) to (samples,).

        Raises:
            AudioProblem: the file of the response was changed and can't be used any more.
        """
        from scipy.signal import oaconvolve  # costs a second, which only packing needs to spend

        impulse, peak = _loaded(self, sample_rate_hz)
        whole = oaconvolve(sound.astype(np.float64), impulse)
        return np.asarray(whole[peak : peak + len(sound)], dtype=np.float32)


def read_response(path: Path, *, device: str) -> Response:
    """Check the file of an impulse response and take its fingerprint.

    Raises:
        AudioProblem: unreadable, cut off, not finite or silent.
    """
    inspect(path, CHECKED_AT_HZ, min_s=0.0)
    _aligned(decode(path, CHECKED_AT_HZ), CHECKED_AT_HZ)
    return Response(device=device, path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@functools.lru_cache(maxsize=64)
def _loaded(response: Response, sample_rate_hz: int) -> tuple[NDArray[np.float64], int]:
    """Once per device and rate, not per clip: a response is tens of thousands of samples, a set thousands of clips."""
    return _aligned(decode(response.path, sample_rate_hz), sample_rate_hz)


def _aligned(impulse: NDArray[np.float32], sample_rate_hz: int) -> tuple[NDArray[np.float64], int]:
    """The response at a gain of 1 for pink noise, (samples,), and the place of its highest peak."""
    exact = impulse.astype(np.float64)
    points = 2 * max(len(exact), sample_rate_hz)  # bins of at most 0.5 Hz, for short responses too
    frequency_hz = np.fft.rfftfreq(points, 1 / sample_rate_hz)
    audible = frequency_hz >= LOWEST_HZ
    pink = 1 / frequency_hz[audible]
    power = float(np.average(np.abs(np.fft.rfft(exact, points)[audible]) ** 2, weights=pink))
    if power <= 0:
        raise AudioProblem("silent: an impulse response needs a sample other than 0")
    return exact / np.sqrt(power), int(np.abs(exact).argmax())
