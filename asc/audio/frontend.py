"""The front end: from a batch of waveforms to normalised log-mel energies, on the batch's device.

Report (IDLab, DCASE 2021 task 1a), section 2.2: 30 ms Hann windows every 10 ms, 4096-point DFT magnitudes, 128 mel
bands, logarithm, mean normalisation over time. The same code serves training, evaluation and export.
"""

import math
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from asc.audio.level import LARGEST
from asc.audio.mel import MelFilters
from asc.audio.torchaudio_compat import melscale_fbanks
from asc.config.front_end import FrontEnd
from asc.errors import InputError

# Spectra computed at a time. On a CPU, portions of about 4 MB stay in the caches: they are 2 to 3 times faster than a
# whole batch, and on a busy machine twice as fast as 1,024 frames. On other devices the limit only bounds memory, to
# 256 MB of complex numbers at 4096 points.
_FRAMES_AT_ONCE_CPU = 256
_FRAMES_AT_ONCE = 16_384
VARIANCE_FLOOR = 1e-5
"""Added to the variance over time in a residual normalisation, as in a batch norm."""


class LogMel(nn.Module):
    """Log-mel energies. It has no weights, and its state_dict is empty: constants are rebuilt from the config."""

    def __init__(self, front_end: FrontEnd) -> None:
        """Build the Hann window and the mel filters (peak 1, from 0 Hz to half the rate)."""
        super().__init__()
        self.front_end = front_end
        filters = _mel_filters(front_end)
        self.register_buffer("window", torch.hann_window(front_end.window_samples), persistent=False)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("noise", _mel_of_noise(front_end, filters), persistent=False)
        self._mel_filters = MelFilters(filters)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Waveforms to log-mel energies, normalised by clip if `normalisation` says so.

        (batch, samples) float32 with full scale 1, to (batch, 1, mel_bands, samples // hop_samples) float32, natural
        logarithm. `per_band` is not applied here, but by the first layer of the network.

        Raises:
            InputError: the waveforms are shorter than one hop, so there is no frame.
        """
        log_mel = self.log_mel(waveform)
        match self.front_end.normalisation:
            case "mean_over_time":
                return log_mel - log_mel.mean(dim=-1, keepdim=True)
            case "residual":
                mean = log_mel.mean(dim=-1, keepdim=True)
                variance = (log_mel - mean).square().mean(dim=-1, keepdim=True)
                return residual(log_mel, mean, variance, self.front_end.residual_lambda)
            case "none" | "per_band":
                return log_mel

    def log_mel(self, waveform: torch.Tensor, peak: torch.Tensor | None = None) -> torch.Tensor:
        """log(mel + floor) of waveforms (batch, samples), as (batch, 1, mel_bands, samples // hop_samples).

        The floor is `log_offset`, plus a noise floor proportional to `peak` (batch,) if `noise_steps` is above 0. By
        default `peak` is the highest magnitude in each waveform; give it if the waveform is a part of a longer sound.

        Raises:
            InputError: the waveforms are shorter than one hop, so there is no frame.
        """
        # No autocast here: 16-bit arithmetic would lose the low levels of these recordings.
        with torch.autocast(device_type=waveform.device.type, enabled=False):
            frames = self._frames(waveform)
            at_once = _FRAMES_AT_ONCE_CPU if waveform.device.type == "cpu" else _FRAMES_AT_ONCE
            step = max(1, at_once // max(1, len(waveform)))
            mel = torch.cat([self._mel(piece) for piece in torch.split(frames, step, dim=1)], dim=1)
            return (mel + self._floor(waveform, peak)).log().transpose(1, 2).unsqueeze(1).contiguous()

    def _floor(self, waveform: torch.Tensor, peak: torch.Tensor | None) -> torch.Tensor | float:
        """The floor that is added to mel energies (batch, frames, bands), in a shape that broadcasts to them."""
        if self.front_end.noise_steps == 0:
            return self.front_end.log_offset
        peak = waveform.abs().amax(dim=1) if peak is None else peak
        return self.front_end.log_offset + peak[:, None, None] * cast(torch.Tensor, self.noise)

    def _frames(self, waveform: torch.Tensor) -> torch.Tensor:
        """Views (batch, frames, window) of (batch, samples): frame t is centred on sample t * hop, zeros outside.

        As in librosa and torch.stft, the window is centred in the DFT. But the zeros around the window are left to the
        DFT, which adds them at the end: the position of the samples in the DFT changes only phases.
        """
        sizes = self.front_end
        frames = waveform.shape[-1] // sizes.hop_samples
        if frames < 1:
            raise InputError(
                f"a clip of {waveform.shape[-1]} samples is shorter than one frame of the front end "
                f"({sizes.hop_samples} samples, front_end.hop_s): leave it out or give longer clips"
            )
        before = sizes.dft_points // 2 - (sizes.dft_points - sizes.window_samples) // 2
        padded = functional.pad(waveform, (before, sizes.window_samples))
        return padded.unfold(-1, sizes.window_samples, sizes.hop_samples)[:, :frames]

    def _mel(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (batch, frames, window) to mel energies (batch, frames, bands): filtered DFT magnitudes."""
        spectrum = torch.fft.rfft(frames * cast(torch.Tensor, self.window), n=self.front_end.dft_points)
        return self._mel_filters.energies(spectrum, cast(torch.Tensor, self.filters))


def residual(x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, weight: float) -> torch.Tensor:
    """Residual normalisation: weight * x + (x - mean) / sqrt(variance + eps), for shapes that broadcast.

    Kim et al. 2021, https://arxiv.org/abs/2111.06531, section 2.2, where the weight is called lambda.
    """
    return weight * x + (x - mean) / torch.sqrt(variance + VARIANCE_FLOOR)


def _mel_filters(front_end: FrontEnd) -> torch.Tensor:
    """Triangular filters, peak 1, equally spaced on the mel scale of Slaney or of HTK, as (DFT bins, bands).

    torchaudio places bins from 0 to `sample_rate // 2`, which is inexact for odd rates. So it is given twice the rate
    and twice the bins, and the bins above half the true rate are cut off.
    """
    filters = melscale_fbanks(
        front_end.dft_points + 1,
        front_end.mel_bands,
        f_min=0.0,
        f_max=front_end.sample_rate_hz / 2,
        sample_rate=2 * front_end.sample_rate_hz,
        norm=None,
        mel_scale=front_end.mel_scale,
    )
    return filters[: front_end.dft_points // 2 + 1].contiguous()


def noise_magnitude(front_end: FrontEnd) -> float:
    """Expected magnitude of a DFT bin of white noise with root mean square `noise_steps`, in 16-bit steps.

    A bin of Gaussian noise is complex normal with variance sigma^2 sum(window^2), so its magnitude is Rayleigh
    distributed with mean sqrt(pi) / 2 times the square root of that variance.
    """
    energy = float(torch.hann_window(front_end.window_samples, dtype=torch.float64).square().sum())
    return front_end.noise_steps * math.sqrt(math.pi * energy) / 2


def _mel_of_noise(front_end: FrontEnd, filters: torch.Tensor) -> torch.Tensor:
    """Expected mel energies (bands,) of that noise for a clip with peak 1; `filters` are (DFT bins, bands)."""
    return (filters.double().sum(dim=0) * noise_magnitude(front_end) / LARGEST).float()
