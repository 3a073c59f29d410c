"""The front end's part of an experiment: from a waveform to log-mel filter bank energies (report, section 2.2)."""

import math
from dataclasses import dataclass
from typing import Literal

from asc.errors import require, require_together
from asc.typed import widen

MelScale = Literal["slaney", "htk"]
Normalisation = Literal["mean_over_time", "none", "per_band", "residual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnd:
    """Log-mel filter bank energies (report, section 2.2).

    `noise_steps` is a noise floor inside the logarithm: the expected mel energies of white noise are added to those of
    the clip. The value is the noise's root mean square in 16-bit steps, with the clip's peak at full scale; 0 adds
    none. Without a floor, a network can come to depend on what lies below the last bit of its audio.

    `normalisation` says what happens to each band at the end:

    - `mean_over_time`: the clip's mean over time is taken off.
    - `none`: nothing.
    - `per_band`: the mean over all training clips is taken off, and the rest is divided by the standard deviation over
      them. Both are measured once before training and stored with the network, as its first layer.
    - `residual`: x becomes `residual_lambda` * x + (x - mean) / sqrt(variance + eps), with the clip's mean and variance
      over time (residual normalisation: Kim et al. 2021, https://arxiv.org/abs/2111.06531).
    """

    sample_rate_hz: int = 44_100
    window_s: float = 0.030
    hop_s: float = 0.010
    dft_points: int = 4096
    mel_bands: int = 128
    log_offset: float = 1e-5
    noise_steps: float = 0.0
    mel_scale: MelScale = "slaney"
    normalisation: Normalisation = "mean_over_time"
    residual_lambda: float = 0.1

    def __post_init__(self) -> None:
        """Check ranges, that the window fits the DFT and that the hop is at least one sample."""
        widen(self)
        for key, least, most in (
            ("sample_rate_hz", 1_000, 768_000),
            ("dft_points", 16, 65_536),
            ("mel_bands", 8, 1_024),
        ):
            value = getattr(self, key)
            require(least <= value <= most, f"front_end.{key} must lie between {least:,} and {most:,}, got {value}")
        require(self.log_offset > 0, f"front_end.log_offset must be above 0, got {self.log_offset}")
        require(
            0 <= self.noise_steps <= 1_000,
            f"front_end.noise_steps must lie between 0 (no noise floor) and 1,000, got {self.noise_steps}",
        )
        require(
            0 <= self.residual_lambda <= 10,
            f"front_end.residual_lambda must lie between 0 and 10, got {self.residual_lambda}",
        )
        require_together(self.hop_samples >= 1, f"front_end.hop_s must be at least one sample, got {self.hop_s}")
        require_together(
            1 <= self.window_samples <= self.dft_points,
            f"front_end.window_s is {self.window_samples} samples, but front_end.dft_points is {self.dft_points}: "
            "the window must not be longer than the DFT",
        )

    @property
    def window_samples(self) -> int:
        """Length of the Hann window in samples."""
        return round(self.window_s * self.sample_rate_hz)

    @property
    def hop_samples(self) -> int:
        """Distance between two frames in samples."""
        return round(self.hop_s * self.sample_rate_hz)

    def frames(self, seconds: float) -> int:
        """Number of frames of a clip of `seconds`: frames are centred and the last is dropped, so one per hop.

        Raises:
            InputError: the length is not a finite number.
        """
        require(math.isfinite(seconds), f"the length of the audio must be a number of seconds, got {seconds}")
        return int(round(seconds * self.sample_rate_hz)) // self.hop_samples
