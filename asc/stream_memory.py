"""What following a stream needs on a device, from the config alone; `asc.stream` is what runs. No torch."""

import math

from asc.activations import FLOAT_BYTES
from asc.config import Architecture, FrontEnd
from asc.size import reach_frames

SUM_BYTES = 8
"""Sums are float64."""


def lag_steps(architecture: Architecture, front_end: FrontEnd, *, every_s: float) -> int:
    """Steps of a stream after which no frame of a piece lacks frames to its right."""
    return math.ceil(reach_frames(architecture) / max(1, front_end.frames(every_s)))


def longest_run_frames(architecture: Architecture, front_end: FrontEnd, *, every_s: float) -> int:
    """The most log-mel frames that the network runs over at once while it follows a stream.

    That is the newest pieces with the reach to their left, or an old piece with the reach on both sides; either begins
    at a multiple of the stride in time.
    """
    reach, stride = reach_frames(architecture), math.prod(architecture.time_strides)
    piece_frames = -(-round(every_s * front_end.sample_rate_hz) // front_end.hop_samples)
    newest = (1 + lag_steps(architecture, front_end, every_s=every_s)) * piece_frames + reach
    return max(newest, piece_frames + 2 * reach) + stride - 1


def kept_frames(architecture: Architecture, front_end: FrontEnd, *, window_s: float, every_s: float) -> int:
    """Log-mel frames of the stream that must be kept, for pieces of the window are run again."""
    return front_end.frames(window_s + every_s) + 2 * reach_frames(architecture)


def kept_bytes(architecture: Architecture, front_end: FrontEnd, *, window_s: float, every_s: float) -> int:
    """Bytes kept from one step to the next: log-mel frames, and for each piece and the window the sums of all means.

    Sums are of the log-mel bands, of the channels that each SE looks at, of the last map and of its squares.
    """
    bins = front_end.mel_bands
    for stride in architecture.frequency_strides:
        bins = -(-bins // stride)
    sums = front_end.mel_bands + sum(block.channels for block in architecture.blocks())
    sums += 2 * bins * architecture.widths[-1]
    frames = kept_frames(architecture, front_end, window_s=window_s, every_s=every_s)
    return FLOAT_BYTES * front_end.mel_bands * frames + SUM_BYTES * sums * (round(window_s / every_s) + 1)
