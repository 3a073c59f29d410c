"""The random numbers of the augmentations: for each clip of an epoch, numbers from 0 to 1.

They are a pure function of (seed, epoch, clip), as in `asc.training.augment.plan_epoch`. Each `Draw` has a random
stream of its own, so that switching one augmentation on changes nothing of the others.
"""

from collections.abc import Mapping
from enum import Enum, unique

import numpy as np
from numpy.typing import NDArray

from asc.config.augment import Augment

Uniform = NDArray[np.float64]


@unique
class Draw(Enum):
    """What a number decides. The value is the number of its stream: never change one."""

    RESPONSE = 4
    """Whether the clip goes through an impulse response."""
    WHICH_RESPONSE = 5
    SOFT_CLIP = 6
    """Whether the clip is clipped."""
    DRIVE = 7
    BAND_LIMIT = 8
    """Whether high frequencies are cut off."""
    CUTOFF = 9
    LEVEL = 10
    ROLL = 11
    STYLE = 12
    """Whether the style of the clip's log-mel map is mixed with another clip's."""
    STYLE_WEIGHT = 13
    """The clip's own share of the style, from a beta distribution; all other numbers are uniform."""
    BANDS_MASKED = 14
    FIRST_BAND_MASKED = 15
    FRAMES_MASKED = 16
    FIRST_FRAME_MASKED = 17


def draws_of(augment: Augment) -> tuple[Draw, ...]:
    """The draws that the augmentations need that are switched on."""
    switched: tuple[tuple[float, tuple[Draw, ...]], ...] = (
        (augment.impulse_response_p, (Draw.RESPONSE, Draw.WHICH_RESPONSE)),
        (augment.soft_clip_p, (Draw.SOFT_CLIP, Draw.DRIVE)),
        (augment.band_limit_p, (Draw.BAND_LIMIT, Draw.CUTOFF)),
        (augment.level_jitter_db, (Draw.LEVEL,)),
        (augment.roll_s, (Draw.ROLL,)),
        (augment.freq_mixstyle_p, (Draw.STYLE, Draw.STYLE_WEIGHT)),
        (augment.frequency_mask_bands, (Draw.BANDS_MASKED, Draw.FIRST_BAND_MASKED)),
        (augment.time_mask_s, (Draw.FRAMES_MASKED, Draw.FIRST_FRAME_MASKED)),
    )
    return tuple(draw for amount, draws in switched if amount > 0 for draw in draws)


def drawn(augment: Augment, *, seed: int, epoch: int, count: int) -> Mapping[Draw, Uniform]:
    """The numbers of the clips 0 to `count` - 1, arrays (count,), for all draws that are needed."""
    needed = draws_of(augment)
    streams = np.random.SeedSequence((seed, epoch)).spawn(1 + max((draw.value for draw in needed), default=0))
    found = {}
    for draw in needed:
        generator = np.random.Generator(np.random.Philox(streams[draw.value]))
        alpha = augment.freq_mixstyle_alpha
        found[draw] = generator.beta(alpha, alpha, count) if draw is Draw.STYLE_WEIGHT else generator.random(count)
    return found


def chosen(uniform: Uniform, probability: float) -> NDArray[np.int64]:
    """The rows that an augmentation with this probability changes, ascending."""
    return np.flatnonzero(uniform < probability)
