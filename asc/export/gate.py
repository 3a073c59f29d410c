"""The gate: an export is written only if its logits agree with those of the stored form on real clips.

DESIGN, "one step": argmax may differ only where the top two logits lie within one step in either form. In addition, no
logit may differ by more than one or two steps (`allowed`).
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

# By how many steps a logit of an 8-bit network may differ. From log-mel, values halfway between two steps inside the
# network may round the other way in other arithmetic: at most one step on all clips tried. From the waveform, log-mel
# differs in its last bits as well: one step was measured, and two between our front end in single and in double
# precision.
_LIMIT_STEPS: Mapping[Source, int] = {"log_mel": 1, "waveform": 2}
# The tolerance for 16-bit networks, as a share of the largest logit. Another order of float32 sums changed a logit by
# 2e-6 of it; one unit in the last place of a float16 weight, by 5e-4. From the waveform 1e-3 was measured, as much as
# between our front end in single and in double precision: a band 100 dB below the loudest one is mostly rounding error.
_TOLERANCE: Mapping[Source, float] = {"log_mel": 1e-4, "waveform": 5e-3}
# Logits on a grid differ by whole steps, apart from float32 rounding.
_SAME_STEPS = 0.5
_ROUNDING_STEPS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """One step of a network's logits, and by how many steps a logit may differ."""

    step: float
    limit_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How the logits of an export differ from those of the stored form, on `clips` clips.

    `step` is one quantum of the last layer's output quantiser, or the tolerance of a 16-bit network, in logits; no
    logit may differ by more than `limit_steps` of them (`allowed`). `differing_share` (0 to 1) of the logits differ by
    more than half a step; `largest_difference` is in logits.
    `argmax_differs` counts clips that get another label; in `argmax_excused` of these the top two logits lie within one
    step in either form.
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
        """The largest difference of a logit, in steps."""
        return self.largest_difference / self.step

    @property
    def why_not(self) -> str | None:
        """What is wrong, or None if the export agrees."""
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
    """Compare the logits (clips, classes) float32 of an export with those of the stored form.

    Raises:
        ValueError: the shapes differ, or there are no clips.
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
    """Return how far an export that takes `source` may be off; `stored` (clips, classes) are the network's own logits.

    A 16-bit network has no steps: its step is the tolerance, a share of its largest logit.
    """
    if isinstance(network, IntegerNet):
        return Allowed(step=float(network.classifier.output.scale), limit_steps=_LIMIT_STEPS[source])
    return Allowed(step=_TOLERANCE[source] * max(1.0, float(np.abs(stored).max())), limit_steps=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Median processor time of one clip on one thread, for an export and for the float network in torch.

    Processor time equals wall-clock time on an idle machine, and is more reliable on a busy one.
    """

    seconds_of_audio: float
    milliseconds: float
    torch_float_milliseconds: float

    @property
    def ratio(self) -> float:
        """The export's time as a share of the float network's."""
        return self.milliseconds / self.torch_float_milliseconds


def latency(run: Callable[[], object], reference: Callable[[], object], *, seconds: float, repeats: int) -> Latency:
    """Time `run` and `reference` (the float network in torch) alternately; the first call of each is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for measured, call in zip(times, (run, reference), strict=True):
            start = time.process_time()
            call()
            measured.append(time.process_time() - start)
    milliseconds, torch_float = (1000 * statistics.median(measured[1:]) for measured in times)
    return Latency(seconds_of_audio=seconds, milliseconds=milliseconds, torch_float_milliseconds=torch_float)


def _margin(logits: Logits) -> NDArray[np.float64]:
    """Return the difference of the top two logits: (clips, classes) to (clips,) float64."""
    top = np.sort(logits.astype(np.float64), axis=1)[:, -2:]
    margins: NDArray[np.float64] = top[:, 1] - top[:, 0]
    return margins
