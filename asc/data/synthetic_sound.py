"""Building blocks of the synthetic set: seeded generators, smooth random spectra, and filtering by a spectrum."""

import hashlib

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float64]
LOWEST_HZ = 40.0
CURVE_POINTS = 64
CURVE_WAVES = 6


def random_state(*names: str | int) -> np.random.Generator:
    """Return a generator seeded by the names only, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def random_curve(random: np.random.Generator, *, deviation_db: float) -> Wave:
    """Draw a smooth response in dB, (`CURVE_POINTS`,), at frequencies spaced evenly in octaves from 40 Hz up."""
    place = np.linspace(0, np.pi, CURVE_POINTS)
    heights = random.standard_normal(CURVE_WAVES) * deviation_db * np.sqrt(2 / CURVE_WAVES)
    return np.asarray(heights @ np.cos(np.arange(1, CURVE_WAVES + 1)[:, None] * place))


def curve_frequencies_hz(sample_rate_hz: int) -> Wave:
    """The frequencies of a curve's points in Hz, (`CURVE_POINTS`,), up to half the rate."""
    return np.geomspace(LOWEST_HZ, sample_rate_hz / 2, CURVE_POINTS)


def filtered(sound: Wave, curve_db: Wave, *, sample_rate_hz: int) -> Wave:
    """Filter a sound, (samples,), with a response in dB, (`CURVE_POINTS`,): circular, zero phase."""
    frequencies = np.fft.rfftfreq(len(sound), 1 / sample_rate_hz)
    points = np.log(curve_frequencies_hz(sample_rate_hz))
    response_db = np.interp(np.log(np.maximum(frequencies, LOWEST_HZ)), points, curve_db)
    return np.fft.irfft(np.fft.rfft(sound) * 10 ** (response_db / 20), len(sound))
