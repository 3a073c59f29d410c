"""Predictions for a stream over a sliding window. The cost per second of audio does not depend on the window length.

The window is kept as pieces, one per step (for example a second). Each piece keeps the sums that all means are computed
from: sums of the log-mel, of the inputs of SE gates, of the squared inputs of response norms, of the inputs of residual
norms and their squares, and of the last map (for a pooling of statistics, of its squares too). At every step

1. the log-mel frames of a new piece are computed (`asc.inference.listening`), and the sums of the piece that has left
   the window are subtracted from the totals;
2. the network runs over the newest pieces: the new one, and earlier ones that lacked frames to their right. An output
   depends on `reach_frames` on either side, so a run includes that many extra frames on both sides and discards their
   outputs. Zeros follow the newest frame, as at the end of a clip. A run begins at a multiple of the network's stride
   in time, so that strided layers see the same frames in every run;
3. the network runs again over the two pieces that were run longest ago, so that pieces follow the changing window (a
   short window, of about three steps, has fewer such pieces and costs less);
4. the statistics for the last layer are computed from the totals of the last map.

The gates, and the front end if it normalises by clip, use means over the whole window, from the current totals. So a
label at second t is about the window that ends at t, without delay. It approximates `Model.predict` on the window's
audio, with these differences:

- A piece keeps the means of the window in which it was last run; `predict` uses the means of the current window for all
  of it. This causes most of the difference while and just after the sound changes within a window. A very different
  past fades out over one more window.
- To the left of the window, frames see the earlier audio, up to `reach_frames` and a window of the front end; `predict`
  has zeros there. Strided layers take every n-th frame of the stream, not of the window.
- Samples are rounded to 16 bits relative to the highest peak of the window at their step, not of the current window.
- A window of more than 30 s is one window here; `predict` cuts it.

The first step of a stream equals `predict`, except for the order of summation.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asc.audio.frontend import residual
from asc.config.front_end import FrontEnd
from asc.errors import InputError
from asc.inference.listening import Listener
from asc.inference.predict import Model
from asc.inference.stream_window import Frames, Levels, Piece, Sums
from asc.inference.waveforms import check_level
from asc.models.layered import gate_columns, gate_statistics, pool_columns, pooled
from asc.results import Prediction
from asc.size.stream_memory import kept_frames, lag_steps

SHORTEST_STEP_S = 0.1
# For a network of 128 kB, a window of an hour keeps 0.35 GB (0.9 GB with the shortest step). The network runs over
# twice the longest step at once, which takes 0.25 GB.
LONGEST_STEP_S = 60
LONGEST_WINDOW_S = 3600
# Old pieces that are run again per step. On the 40 scenes of tests/inference/test_stream.py, probabilities differ from
# `predict` by 0.070, 0.040, 0.025 and 0.018 with 0, 1, 2 and 3 pieces. Each costs a run over a piece and twice the
# reach.
RUN_AGAIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The prediction for the window that ends `time_s` after the start of a stream."""

    time_s: float
    prediction: Prediction


class Follower:
    """Follows one stream: samples in, a prediction at every step."""

    def __init__(self, model: Model, sample_rate_hz: int, *, window_s: float = 10.0, every_s: float = 1.0) -> None:
        """Begin a stream of this rate. Until it is as long as the window, predictions are about all of it.

        Raises:
            InputError: the window is not a multiple of the step or is shorter than the network's stride, or either is
                too short or too long.
        """
        experiment, topology = model.info.experiment, model.network.topology
        front_end = experiment.front_end
        self._model, self._rate_hz, self._every_s = model, sample_rate_hz, every_s
        self._most = _steps(window_s, every_s)
        # One stride per summed quantity: log-mel, the inputs of the gates, the last map (and its squares).
        self._gates, self._pool = topology.gates, topology.pool
        self._front_end = front_end
        self._last_stride = topology.time_strides[topology.pool.name]
        self._strides = [1, *(topology.time_strides[gate.name] for gate in self._gates), self._last_stride]
        if front_end.frames(every_s) < 1 or front_end.frames(window_s) < self._last_stride:
            raise InputError(
                f"this network looks at one frame of {front_end.hop_s:g} s in {self._last_stride}: a window of "
                f"{window_s:g} s and a step of {every_s:g} s are too short"
            )
        self._reach = topology.reach_frames
        self._lag = lag_steps(experiment, every_s=every_s)
        self._listener = Listener(model.log_mel, sample_rate_hz, steps=self._most)
        most = kept_frames(experiment, window_s=window_s, every_s=every_s)
        self._frames = Frames(front_end.mel_bands, most)
        self._pieces: deque[Piece] = deque()
        self._waiting: deque[Piece] = deque()
        self._nothing = Sums(torch.zeros((), dtype=torch.float64), 0)
        self._totals = [self._nothing] * len(self._strides)
        self._levels = Levels(self._most)
        self._done = 0

    @property
    def heard_s(self) -> float:
        """Seconds of the stream received so far."""
        return self._listener.heard / self._rate_hz

    def feed(self, sound: NDArray[np.float32], loudest: NDArray[np.float32] | None = None) -> list[Heard]:
        """Take the next samples, (samples,) mono with full scale 1; return the predictions of completed steps.

        If `sound` is a mean of channels, `loudest` is the highest magnitude of any channel at each sample, (samples,).

        Raises:
            InputError: samples are not finite, or far beyond full scale.
        """
        if not np.isfinite(sound).all():
            raise InputError("the stream has samples that are not finite: check the format that it is read in")
        check_level(sound)
        self._listener.feed(sound)
        self._levels.feed(sound, loudest)
        said = []
        while self._listener.heard >= (samples := round((self._done + 1) * self._every_s * self._rate_hz)):
            self._done += 1
            said.append(Heard(time_s=self._done * self._every_s, prediction=self._step(samples)))
        return said

    @torch.inference_mode()
    def _step(self, samples: int) -> Prediction:
        self._levels.step(samples)
        self._frames.put(*self._listener.frames(samples))
        start = self._pieces[-1].stop if self._pieces else 0
        self._pieces.append(Piece(start, self._frames.stop, [self._nothing] * len(self._strides)))
        if len(self._pieces) > self._most:
            gone = self._pieces.popleft()
            self._totals = [total - sums for total, sums in zip(self._totals, gone.sums, strict=True)]
        newest = [self._pieces[-number] for number in range(min(self._lag + 1, len(self._pieces)), 0, -1)]
        log_mel = self._frames.get(newest[0].start, newest[-1].stop)
        self._settle(0, newest, newest[0].start, _front_end_columns(self._front_end, log_mel))
        self._run(newest)
        for piece in [self._longest_waiting() for _ in range(RUN_AGAIN)]:
            if piece is not None:
                self._run([piece])
                self._waiting.append(piece)
        if len(newest) > self._lag:
            self._waiting.append(newest[0])
        return self._prediction()

    def _longest_waiting(self) -> Piece | None:
        """Take the piece that was run longest ago, and is still in the window, from the queue."""
        while self._waiting:
            piece = self._waiting.popleft()
            if piece.start >= self._pieces[0].start:
                return piece
        return None

    def _run(self, pieces: Sequence[Piece]) -> None:
        """Run the network over neighbouring pieces, with the current means of the window."""
        begin = max(0, pieces[0].start - self._reach) // self._last_stride * self._last_stride
        frames = self._frames.get(begin, min(pieces[-1].stop + self._reach, self._frames.stop))
        log_mel = _normalised(self._front_end, frames, self._totals[0].mean)
        poolings = {
            gate.name: partial(self._gate_statistics, number, pieces, begin)
            for number, gate in enumerate(self._gates, start=1)
        }
        last = self._model.network.last_map(log_mel[None, None], poolings)[0].double()
        self._settle(-1, pieces, begin, pool_columns(self._pool, last))

    def _gate_statistics(self, number: int, pieces: Sequence[Piece], begin: int, x: Tensor) -> Tensor:
        """Update a gate's sums from its input (1, channels, bins, columns); return its statistics of the window."""
        gate = self._gates[number - 1]
        self._settle(number, pieces, begin, gate_columns(gate, x[0]).double())
        return gate_statistics(gate, self._totals[number].mean)

    def _settle(self, number: int, pieces: Sequence[Piece], begin: int, values: Tensor) -> None:
        """Replace the sums of pieces by sums over values (..., columns), and update the totals."""
        stride = self._strides[number]
        for piece in pieces:
            first, stop = (-(-frame // stride) - begin // stride for frame in (piece.start, piece.stop))
            sums = Sums(values[..., first:stop].double().sum(-1), stop - first)
            self._totals[number] = self._totals[number] - piece.sums[number] + sums
            piece.sums[number] = sums

    def _prediction(self) -> Prediction:
        logits = self._model.network.head(pooled(self._pool, self._totals[-1].mean).float())
        probabilities = torch.softmax(logits.double(), dim=1)[0]
        return Prediction(
            labels=self._model.labels, probabilities=tuple(probabilities.tolist()), note=self._levels.note()
        )


def _front_end_columns(front_end: FrontEnd, log_mel: Tensor) -> Tensor:
    """Map log-mel (bands, frames) to (..., frames), whose mean over the window is what `_normalised` needs."""
    match front_end.normalisation:
        case "residual":
            exact = log_mel.double()  # the variance is a difference of squares
            return torch.stack([exact, exact.square()])
        case "mean_over_time" | "none" | "per_band":
            return log_mel


def _normalised(front_end: FrontEnd, log_mel: Tensor, mean: Tensor) -> Tensor:
    """Normalise log-mel (bands, frames) as `LogMel` does, given the window's mean of `_front_end_columns`, float64."""
    match front_end.normalisation:
        case "mean_over_time":
            return log_mel - mean.float()[:, None]
        case "residual":
            of_bands, of_squares = mean
            variance = (of_squares - of_bands.square()).clamp_min(0)
            means, variances = (values.float()[:, None] for values in (of_bands, variance))
            return residual(log_mel, means, variances, front_end.residual_lambda)
        case "none" | "per_band":
            return log_mel


def _steps(window_s: float, every_s: float) -> int:
    if not (math.isfinite(every_s) and every_s >= SHORTEST_STEP_S):
        raise InputError(f"the step between predictions must be at least {SHORTEST_STEP_S} s, got {every_s}")
    if every_s > LONGEST_STEP_S:
        raise InputError(f"the step between predictions must be at most {LONGEST_STEP_S} s, got {every_s:g} s")
    if math.isfinite(window_s) and window_s > LONGEST_WINDOW_S:
        raise InputError(f"the window must be at most {LONGEST_WINDOW_S:,} s, got {window_s:g} s")
    if not math.isfinite(window_s) or abs(window_s / every_s - round(window_s / every_s)) > 1e-6 or window_s < every_s:
        raise InputError(f"the window must be a multiple of the step of {every_s:g} s, got {window_s:g} s")
    return round(window_s / every_s)
