"""What following a stream needs on a device, from the config alone; `asc.inference.stream` is what runs. No torch."""

import math

from asc.config.experiment import Experiment
from asc.size.activations import FLOAT_BYTES
from asc.topology.describe import topology_of

SUM_BYTES = 8
"""Sums are float64."""


def lag_steps(experiment: Experiment, *, every_s: float) -> int:
    """Steps of a stream after which no frame of a piece lacks frames to its right."""
    return math.ceil(topology_of(experiment).reach_frames / max(1, experiment.front_end.frames(every_s)))


def longest_run_frames(experiment: Experiment, *, every_s: float) -> int:
    """The most log-mel frames that the network runs over at once while it follows a stream.

    That is the newest pieces with the reach to their left, or an old piece with the reach on both sides; either begins
    at a multiple of the stride in time.
    """
    topology, front_end = topology_of(experiment), experiment.front_end
    reach, stride = topology.reach_frames, topology.time_strides[topology.pool.name]
    piece_frames = -(-round(every_s * front_end.sample_rate_hz) // front_end.hop_samples)
    newest = (1 + lag_steps(experiment, every_s=every_s)) * piece_frames + reach
    return max(newest, piece_frames + 2 * reach) + stride - 1


def kept_frames(experiment: Experiment, *, window_s: float, every_s: float) -> int:
    """Log-mel frames of the stream that must be kept, for pieces of the window are run again."""
    return experiment.front_end.frames(window_s + every_s) + 2 * topology_of(experiment).reach_frames


def kept_bytes(experiment: Experiment, *, window_s: float, every_s: float) -> int:
    """Bytes kept from one step to the next: log-mel frames, and for each piece and the window the sums of all means.

    Sums are of the log-mel bands, of the channels that each SE looks at, of the last map and of its squares.
    """
    topology, bands = topology_of(experiment), experiment.front_end.mel_bands
    (statistics,) = topology.shapes(1)[topology.pool.name]
    sums = bands + sum(gate.channels for gate in topology.gates) + statistics
    frames = kept_frames(experiment, window_s=window_s, every_s=every_s)
    return FLOAT_BYTES * bands * frames + SUM_BYTES * sums * (round(window_s / every_s) + 1)
