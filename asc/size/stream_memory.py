"""The memory that following a stream takes on a device, from the config alone; no torch.

`asc.inference.stream` is the code that follows a stream. It classifies a window of `window_s` every `every_s`, and runs
the network over pieces of `every_s`.
"""

import math
from typing import assert_never

from asc.config.experiment import Experiment
from asc.size.activations import FLOAT_BYTES
from asc.topology.describe import topology_of
from asc.topology.layers import Gate, ResidualNorm, ResponseNorm, SqueezeExcite
from asc.topology.topology import Shape

SUM_BYTES = 8
"""Bytes of one sum, a float64."""


def lag_steps(experiment: Experiment, *, every_s: float) -> int:
    """Number of stream steps until all frames within reach to the right of a piece have arrived."""
    return math.ceil(topology_of(experiment).reach_frames / max(1, experiment.front_end.frames(every_s)))


def longest_run_frames(experiment: Experiment, *, every_s: float) -> int:
    """The most log-mel frames that the network processes at once while it follows a stream.

    That is either the newest pieces with the reach to their left, or an old piece with the reach on both sides. Both
    start at a multiple of the total stride in time.
    """
    topology, front_end = topology_of(experiment), experiment.front_end
    reach, stride = topology.reach_frames, topology.time_strides[topology.pool.name]
    piece_frames = -(-round(every_s * front_end.sample_rate_hz) // front_end.hop_samples)
    newest = (1 + lag_steps(experiment, every_s=every_s)) * piece_frames + reach
    return max(newest, piece_frames + 2 * reach) + stride - 1


def kept_frames(experiment: Experiment, *, window_s: float, every_s: float) -> int:
    """The number of log-mel frames that a stream must keep, because pieces of the window are run again."""
    return experiment.front_end.frames(window_s + every_s) + 2 * topology_of(experiment).reach_frames


def kept_bytes(experiment: Experiment, *, window_s: float, every_s: float) -> int:
    """Bytes kept between steps: log-mel frames (float32) and, for each piece and for the window, sums (float64).

    The sums are over time: of the log-mel bands, of the input channels of each SE layer and response norm, of the input
    bins of each residual norm and of their squares, and of the last map (for a pooling of statistics, of its squares
    too).
    """
    topology, bands = topology_of(experiment), experiment.front_end.mel_bands
    shapes = topology.shapes(1)
    (statistics,) = shapes[topology.pool.name]  # as many as the values whose means over time they need
    sums = bands + sum(_gate_sums(gate, shapes[gate.name]) for gate in topology.gates) + statistics
    frames = kept_frames(experiment, window_s=window_s, every_s=every_s)
    return FLOAT_BYTES * bands * frames + SUM_BYTES * sums * (round(window_s / every_s) + 1)


def _gate_sums(gate: Gate, shape: Shape) -> int:
    """The number of values whose sums over time a gate needs, given the shape of its map."""
    channels, bins, _ = shape
    match gate:
        case SqueezeExcite() | ResponseNorm():
            return channels
        case ResidualNorm():
            return 2 * bins
        case _:
            assert_never(gate)
