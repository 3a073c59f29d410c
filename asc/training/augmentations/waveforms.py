"""The changes to waveforms that are switched on, in the order in which a device makes them.

First the microphone colours the sound, its amplifier clips it, a codec cuts off high frequencies. Then come the level
and the place in time. A clip that mixup mixes in is changed like any other.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asc.config.augment import Augment
from asc.data.impulse_response import Response
from asc.training.augmentations.band_limit import band_limited
from asc.training.augmentations.draws import Draw, Uniform
from asc.training.augmentations.impulse_responses import Microphones
from asc.training.augmentations.level_jitter import jittered
from asc.training.augmentations.rolling import rolled
from asc.training.augmentations.soft_clip import soft_clipped


class WaveformChanges:
    """Applies them to crops of one rate and length."""

    def __init__(
        self, augment: Augment, *, sample_rate_hz: int, samples: int, responses: Sequence[Response] = ()
    ) -> None:
        """Prepare for crops of `samples`; `responses` are needed if `augment.impulse_response_p` is above 0."""
        self._augment = augment
        self._sample_rate_hz = sample_rate_hz
        used = augment.impulse_response_p > 0
        self._microphones = Microphones(responses, sample_rate_hz=sample_rate_hz, samples=samples) if used else None

    def apply(self, waveform: Tensor, drawn: Mapping[Draw, Uniform], reference: NDArray[np.bool_]) -> Tensor:
        """Change waveforms (rows, samples); `drawn` and `reference` hold an array (rows,) each."""
        augment, rate_hz = self._augment, self._sample_rate_hz
        if self._microphones is not None:
            waveform = self._microphones.heard(
                waveform,
                reference=reference,
                uniform=drawn[Draw.RESPONSE],
                which=drawn[Draw.WHICH_RESPONSE],
                probability=augment.impulse_response_p,
            )
        if Draw.SOFT_CLIP in drawn:
            waveform = soft_clipped(
                waveform,
                uniform=drawn[Draw.SOFT_CLIP],
                drive=drawn[Draw.DRIVE],
                probability=augment.soft_clip_p,
                most_db=augment.soft_clip_db,
            )
        if Draw.BAND_LIMIT in drawn:
            waveform = band_limited(
                waveform,
                uniform=drawn[Draw.BAND_LIMIT],
                cutoff=drawn[Draw.CUTOFF],
                probability=augment.band_limit_p,
                lowest_hz=augment.band_limit_hz,
                sample_rate_hz=rate_hz,
            )
        if Draw.LEVEL in drawn:
            waveform = jittered(waveform, uniform=drawn[Draw.LEVEL], most_db=augment.level_jitter_db)
        if Draw.ROLL in drawn:
            waveform = rolled(waveform, uniform=drawn[Draw.ROLL], most_samples=round(augment.roll_s * rate_hz))
        return waveform
