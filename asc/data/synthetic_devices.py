"""Recording devices of the synthetic set: each has a response, compression and noise, the same for every seed.

After TAU 2020 Mobile, whose devices s1..s6 are simulated from device a with impulse responses and dynamic range
compression (Heittola et al. 2020, arXiv:2005.14623, section 2).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asc.data.synthetic_sound import Wave, filtered, random_curve, random_state

LEVEL = 0.003  # RMS near -50 dBFS, like TAU's
LEVEL_SPREAD_DB = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """How a device differs from device a.

    `response_db` is the standard deviation of its response. `compression_rms` is the amplitude, relative to the sound's
    RMS, at which it halves the signal. `noise_db` is its noise level relative to the sound's RMS.
    """

    response_db: float
    compression_rms: float
    noise_db: float


DEVICES = {
    "a": Device(response_db=0, compression_rms=50, noise_db=-60),
    "b": Device(response_db=5, compression_rms=8, noise_db=-42),
    "c": Device(response_db=5, compression_rms=8, noise_db=-42),
    "s1": Device(response_db=7, compression_rms=5, noise_db=-45),
    "s2": Device(response_db=7, compression_rms=4, noise_db=-40),
    "s3": Device(response_db=7, compression_rms=3, noise_db=-40),
    "s4": Device(response_db=8, compression_rms=4, noise_db=-38),
    "s5": Device(response_db=9, compression_rms=3, noise_db=-38),
    "s6": Device(response_db=9, compression_rms=2, noise_db=-36),
}


def record(sound: Wave, *, device: str, noise: np.random.Generator, sample_rate_hz: int) -> NDArray[np.float32]:
    """Record a sound with a device, (samples,) to (samples,) float32, full scale 1; the level varies between clips."""
    traits = DEVICES[device]
    curve_db = random_curve(random_state("device", device), deviation_db=traits.response_db)
    heard = filtered(sound, curve_db, sample_rate_hz=sample_rate_hz) if traits.response_db else sound
    heard = heard / np.sqrt(np.mean(heard**2))
    heard = heard / (1 + np.abs(heard) / traits.compression_rms)
    heard += noise.standard_normal(len(heard)) * 10 ** (traits.noise_db / 20)
    level = LEVEL * 10 ** (noise.normal(0, LEVEL_SPREAD_DB) / 20)
    return np.asarray(heard * level, dtype=np.float32)
