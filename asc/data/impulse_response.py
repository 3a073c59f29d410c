"""Simulate a microphone: convolve a clip with the measured impulse response.

TAU's simulated devices were made like this, with compression added (Heittola et al. 2020, arXiv:2005.14623, section 2).
The response is resampled to the rate of the clip and convolved in full, by FFT (overlap-add). Its highest peak is taken
as time 0, so sounds are not delayed, and the clip keeps its length. The gain is chosen so that pink noise (equal power
in every octave) from 50 Hz up keeps its RMS. Everyday sound is closer to pink than to white noise, so devices differ in
spectrum but hardly in loudness.
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
    """A device's checked impulse response file, identified by its content."""

    device: str
    path: Path
    sha256: str

    @property
    def identity(self) -> str:
        """Text that differs if the device sounds different; it does not depend on the file's path."""
        return f"{self.device} {self.sha256} v{VERSION}"

    def heard(self, sound: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
        """Apply the device to a sound, (samples,) float32 to (samples,) float32.

        Raises:
            AudioProblem: the response file was changed since it was checked and is no longer usable.
        """
        from scipy.signal import oaconvolve  # takes a second to import; only packing needs it

        impulse, peak = self.impulse(sample_rate_hz)
        whole = oaconvolve(sound.astype(np.float64), impulse)
        return np.asarray(whole[peak : peak + len(sound)], dtype=np.float32)

    def impulse(self, sample_rate_hz: int) -> tuple[NDArray[np.float64], int]:
        """The response at a rate, scaled to unit gain for pink noise, (samples,), and the index of its highest peak.

        Raises:
            AudioProblem: the file was changed since it was checked and is no longer usable.
        """
        return _loaded(self, sample_rate_hz)


def read_response(path: Path, *, device: str) -> Response:
    """Check an impulse response file and compute its SHA-256.

    Raises:
        AudioProblem: the file is unreadable, cut off, not finite or silent.
    """
    inspect(path, CHECKED_AT_HZ, min_s=0.0)
    _aligned(decode(path, CHECKED_AT_HZ), CHECKED_AT_HZ)
    return Response(device=device, path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@functools.lru_cache(maxsize=64)
def _loaded(response: Response, sample_rate_hz: int) -> tuple[NDArray[np.float64], int]:
    """Load a response, cached per device and rate, because a set has thousands of clips; as `_aligned`."""
    return _aligned(decode(response.path, sample_rate_hz), sample_rate_hz)


def _aligned(impulse: NDArray[np.float32], sample_rate_hz: int) -> tuple[NDArray[np.float64], int]:
    """Return the response with unit gain for pink noise, (samples,), and the index of its highest peak."""
    exact = impulse.astype(np.float64)
    points = 2 * max(len(exact), sample_rate_hz)  # bins of at most 0.5 Hz, for short responses too
    frequency_hz = np.fft.rfftfreq(points, 1 / sample_rate_hz)
    audible = frequency_hz >= LOWEST_HZ
    pink = 1 / frequency_hz[audible]
    power = float(np.average(np.abs(np.fft.rfft(exact, points)[audible]) ** 2, weights=pink))
    if power <= 0:
        raise AudioProblem("silent: an impulse response needs a sample other than 0")
    return exact / np.sqrt(power), int(np.abs(exact).argmax())
