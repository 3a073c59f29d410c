"""The gate of every export: on real clips its logits agree with those of the stored form, or it is not written.

DESIGN, "one step": argmax may differ only where the top two logits lie within one step in either form. On top of that
no logit may be further off than a step or two (`allowed`).
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asc.export.formats import Source
from asc.models.integer import IntegerNet
from asc.models.stored import StoredNet

Logits = NDArray[np.float32]

# How many steps of an 8-bit output a logit may be off. From log-mel, values that lie between two steps inside the
# network round the other way in other arithmetic: within one step on all clips that were tried. From the waveform,
# log-mel differs in its last bits as well: one step was measured, two between our front end in single and in double.
_LIMIT_STEPS: Mapping[Source, int] = {"log_mel": 1, "waveform": 2}
# The tolerance for networks in 16 bits, as a share of the largest logit. The order of float32 sums gave 2e-6 of it, one
# unit of its 16 bits in a weight 5e-4. From the waveform 1e-3 was measured, as far as between our front end in single
# and in double precision: a band 100 dB below the loudest one holds little but the rounding of the spectrum.
_TOLERANCE: Mapping[Source, float] = {"log_mel": 1e-4, "waveform": 5e-3}
# Logits on a grid differ by whole steps, but for the rounding of float32.
_SAME_STEPS = 0.5
_ROUNDING_STEPS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """One step of a network's logits, and how many of them a logit may be off."""

    step: float
    limit_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How the logits of an export differ from those of the stored form, on `clips` clips.

    `step` is one quantum of the last layer's output, or the tolerance for a network in 16 bits; no logit may be further
    off than `limit_steps` of them (`allowed`).
    `argmax_differs` counts clips of which `argmax_excused` have their top two logits within one step in either form.
    """

    clips: int
    step: float
    limit_steps: int
    differing_share: float
    largest_difference: float
    argmax_differs: int
    argmax_excused: int

    @property
    def largest_steps(self) -> float:
        """The largest difference of a logit in steps."""
        return self.largest_difference / self.step

    @property
    def why_not(self) -> str | None:
        """What is wrong, or None where the export agrees."""
        if not math.isfinite(self.largest_difference):
            return "a logit is not a finite number"
        if self.largest_steps > self.limit_steps + _ROUNDING_STEPS:
            return f"a logit is {self.largest_steps:.1f} steps off, {self.limit_steps} are allowed"
        if self.argmax_differs > self.argmax_excused:
            wrong = self.argmax_differs - self.argmax_excused
            return f"of {self.clips} clips {wrong} have another label though their top two are over a step apart"
        return None

    @property
    def passed(self) -> bool:
        """Whether the export may be written."""
        return self.why_not is None


def agreement(found: Logits, stored: Logits, limits: Allowed) -> Agreement:
    """Compare the logits (clips, classes) of an export with those of the stored form.

    Raises:
        ValueError: the shapes differ, or there is no clip.
    """
    if found.shape != stored.shape or not len(found):
        raise ValueError(f"logits of shape {found.shape} can't be compared with {stored.shape}")
    step = limits.step
    difference = np.abs(found.astype(np.float64) - stored)
    largest = float(difference.max())
    differs = found.argmax(axis=1) != stored.argmax(axis=1)
    close = (_margin(found) <= step * (1 + _ROUNDING_STEPS)) | (_margin(stored) <= step * (1 + _ROUNDING_STEPS))
    return Agreement(
        clips=len(found),
        step=step,
        limit_steps=limits.limit_steps,
        differing_share=float((difference > _SAME_STEPS * step).mean()),
        largest_difference=largest if math.isfinite(largest) else math.inf,
        argmax_differs=int(differs.sum()),
        argmax_excused=int((differs & close).sum()),
    )


def allowed(network: StoredNet, stored: Logits, *, source: Source) -> Allowed:
    """What is allowed to an export that starts from log-mel or waveforms; `stored` are the network's own logits.

    A network in 16 bits has no steps: one step is the tolerance then, a share of its largest logit.
    """
    if isinstance(network, IntegerNet):
        return Allowed(step=float(network.classifier.output.scale), limit_steps=_LIMIT_STEPS[source])
    return Allowed(step=_TOLERANCE[source] * max(1.0, float(np.abs(stored).max())), limit_steps=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Median processor time of one clip on one thread, and that of the float network in torch, measured in turns.

    Processor time is what a clock on the wall shows where nothing else runs; where something does, it says more.
    """

    seconds_of_audio: float
    milliseconds: float
    torch_float_milliseconds: float

    @property
    def ratio(self) -> float:
        """As a share of the float network's time."""
        return self.milliseconds / self.torch_float_milliseconds


def latency(run: Callable[[], object], reference: Callable[[], object], *, seconds: float, repeats: int) -> Latency:
    """Time `run` against `reference`, the float network in torch, in turns; the first call of both is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for measured, call in zip(times, (run, reference), strict=True):
            start = time.process_time()
            call()
            measured.append(time.process_time() - start)
    milliseconds, torch_float = (1000 * statistics.median(measured[1:]) for measured in times)
    return Latency(seconds_of_audio=seconds, milliseconds=milliseconds, torch_float_milliseconds=torch_float)


def _margin(logits: Logits) -> NDArray[np.float64]:
    """How far the top two logits (clips, classes) lie apart, (clips,)."""
    top = np.sort(logits.astype(np.float64), axis=1)[:, -2:]
    margins: NDArray[np.float64] = top[:, 1] - top[:, 0]
    return margins
