"""Impulse responses: a clip of the reference device is heard through another microphone.

Morocutti et al. 2023, https://arxiv.org/abs/2305.07499. The responses are those of `asc.data.response_bank`, scaled and
aligned as in `asc.data.impulse_response`; the paper convolves without either.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asc.data.impulse_response import Response
from asc.training.augmentations.draws import Uniform, chosen


class Microphones:
    """A bank of responses at one sample rate, as spectra for crops of one length."""

    def __init__(self, responses: Sequence[Response], *, sample_rate_hz: int, samples: int) -> None:
        """Load the responses for crops of `samples`, without what is further than that from their peaks."""
        loaded = [_around_peak(*response.impulse(sample_rate_hz), samples) for response in responses]
        taps = max(len(impulse) for impulse, _ in loaded)
        self._points = _fast_length(samples + taps)
        self._samples = samples
        padded = np.stack([np.pad(impulse, (0, self._points - len(impulse))) for impulse, _ in loaded])
        aligned = np.stack([np.roll(row, -peak) for row, (_, peak) in zip(padded, loaded, strict=True)])
        self._spectra = torch.fft.rfft(torch.from_numpy(aligned)).to(torch.complex64)

    def heard(
        self, waveform: Tensor, *, reference: NDArray[np.bool_], uniform: Uniform, which: Uniform, probability: float
    ) -> Tensor:
        """Convolve rows of (rows, samples) with responses of the bank; sounds are not delayed.

        A row is changed if it is of the `reference` device and its value in `uniform` is below `probability`. `which`
        chooses the response. All three are (rows,).
        """
        rows = chosen(np.where(reference, uniform, 1.0), probability)
        if len(rows) == 0:
            return waveform
        index = torch.from_numpy(rows).to(waveform.device)
        response = torch.from_numpy((which[rows] * len(self._spectra)).astype(np.int64))
        spectrum = torch.fft.rfft(waveform[index], self._points) * self._spectra[response].to(waveform.device)
        return waveform.index_copy(0, index, torch.fft.irfft(spectrum, self._points)[:, : self._samples])


def _around_peak(impulse: NDArray[np.float64], peak: int, samples: int) -> tuple[NDArray[np.float64], int]:
    """Cut a response to `samples` before and after its peak; return it and the index of the peak."""
    first = max(0, peak - samples)
    return impulse[first : peak + samples], peak - first


def _fast_length(least: int) -> int:
    """A length of at least `least` whose DFT is fast."""
    from scipy.fft import next_fast_len  # takes a second to import; only this augmentation needs it

    return int(next_fast_len(least, real=True))
