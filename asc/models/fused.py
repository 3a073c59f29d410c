"""Batch norm and the 8-bit grid as compiled loops (`fused.c`), which read and write a map as few times as they can.

torch goes over the whole map for each operation, and most of a step's time outside convolutions is waiting for memory.
The loops are compiled by `asc.audio.compiled`. A machine without a compiler trains with torch's operations.
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from asc.audio.compiled import Library, in_parts, library

_SOURCE = Path(__file__).with_suffix(".c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A grid as seen from a map: the value x of a channel is at step round(x * factor + offset).

    Factor and offset are (channels,); steps below `lowest` and above `highest` are clamped; a step is `width` wide.
    """

    factor: Tensor
    offset: Tensor
    lowest: float
    highest: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EightBits:
    """A map on a grid: `steps`, uint8, channels_last; its values are (steps - zero) * scale."""

    steps: Tensor
    zero: int
    scale: float

    @property
    def shape(self) -> torch.Size:
        """The map's, (batch, channels, bins, frames)."""
        return self.steps.shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """What batch norm does to a batch: x becomes x * factor + offset, from `low` to `high`, ().

    `mean` and `inverse`, 1 / sqrt(variance + eps), are those of the batch; these four are (channels,).
    """

    mean: Tensor
    inverse: Tensor
    factor: Tensor
    offset: Tensor
    low: Tensor
    high: Tensor


class Kernels:
    """The functions of `fused.c` over the whole of a map, on all of torch's threads.

    A map is (batch, channels, bins, frames), float32 and channels_last, on a CPU: see `takes`.
    """

    def __init__(self, library: Library) -> None:
        """`library` is the compiled file."""
        self._library = library

    def takes(self, x: Tensor) -> bool:
        """Whether x is such a map."""
        return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and _float_on_cpu(x)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Moments of the parts of a map, (parts, 1 + 2 x channels), and each channel's ends, (2, channels).

        For a part, its number of values per channel, then the means, then the biased variances, in float64. The ends
        are the lowest and the highest value of the whole map.
        """
        channels = x.shape[1]

        def of_part(part: Tensor) -> tuple[Tensor, Tensor]:
            moments, ends = torch.empty(1 + 2 * channels, dtype=torch.float64), torch.empty(2, channels)
            self._library.call("moments", part.numel(), channels, part, moments, ends)
            return moments, ends

        found = in_parts(of_part, _rows(x))
        if len(found) == 1:
            return found[0][0][None], found[0][1]
        moments, ends = map(torch.stack, zip(*found, strict=True))
        return moments, torch.stack([ends[:, 0].amin(0), ends[:, 1].amax(0)])

    def normalisation(self, moments: Tensor, ends: Tensor, norm: nn.BatchNorm2d) -> "Normalisation":
        """What a batch norm in training does, given the moments of all parts of a batch and the ends of a map.

        Its running mean and variance follow; its counter does not.
        """
        channels = ends.shape[1]
        mean, variance, inverse, factor, offset = torch.empty(5, channels).unbind()
        after = torch.empty(2)
        assert norm.momentum is not None and norm.running_mean is not None and norm.running_var is not None
        weights = norm.weight, norm.bias, norm.eps, norm.momentum, norm.running_mean, norm.running_var
        found = mean, variance, inverse, factor, offset, after
        self._library.call("normalisation", channels, len(moments), moments, ends, *weights, *found)
        low, high = after.unbind()
        return Normalisation(mean=mean, inverse=inverse, factor=factor, offset=offset, low=low, high=high)

    def steps_on_grid(self, x: Tensor, steps: Steps) -> EightBits | None:
        """A map on the grid, as the steps themselves; None if it has a NaN, which is at no step."""
        y = torch.empty_like(x, dtype=torch.uint8)
        grid = steps.factor, steps.offset, steps.lowest, steps.highest

        def of_part(part: Tensor, result: Tensor) -> int:
            return self._library.call("steps_on_grid", part.numel(), part.shape[1], part, *grid, result)

        if not all(in_parts(of_part, _rows(x), _rows(y))):
            return None
        return EightBits(steps=y, zero=-int(steps.lowest), scale=steps.width)

    def on_grid(self, x: Tensor, steps: Steps) -> Tensor:
        """The values of a map on the grid."""
        y = torch.empty_like(x)
        grid = steps.factor, steps.offset, steps.lowest, steps.highest, steps.width

        def of_part(part: Tensor, result: Tensor) -> None:
            self._library.call("on_grid", part.numel(), part.shape[1], part, *grid, result)

        in_parts(of_part, _rows(x), _rows(y))
        return y

    def gradient_sums(self, gradient: Tensor, x: Tensor, steps: Steps, mean: Tensor) -> tuple[Tensor, Tensor]:
        """For each channel the sums of g and g (x - mean); g is the gradient where x is not clamped, else 0."""
        grid = steps.factor, steps.offset, steps.lowest, steps.highest

        def of_part(part: Tensor, values: Tensor) -> Tensor:
            sums = torch.empty(2, part.shape[1], dtype=torch.float64)
            self._library.call("gradient_sums", part.numel(), part.shape[1], part, values, *grid, mean, *sums)
            return sums

        sums, products = torch.stack(in_parts(of_part, _rows(gradient), _rows(x))).sum(0).float()
        return sums, products

    def gradient_of_x(self, gradient: Tensor, x: Tensor, steps: Steps, *terms: Tensor) -> Tensor:
        """The map g weight - (x - mean) slope - constant; `terms` are mean, weight, slope and constant, (channels,)."""
        y = torch.empty_like(x)
        grid = steps.factor, steps.offset, steps.lowest, steps.highest

        def of_part(part: Tensor, values: Tensor, result: Tensor) -> None:
            self._library.call("gradient_of_x", part.numel(), part.shape[1], part, values, *grid, *terms, result)

        in_parts(of_part, _rows(gradient), _rows(x), _rows(y))
        return y

    def takes_values(self, x: Tensor, *others: Tensor) -> bool:
        """Whether x is float32 on a CPU and without gaps, and the others lie in the same order."""
        dense = x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
        return dense and _float_on_cpu(x) and all(one.stride() == x.stride() for one in others)

    def grid_and_mask(
        self, x: Tensor, y: Tensor, factor: Tensor, bounds: tuple[Tensor, Tensor], width: Tensor
    ) -> Tensor:
        """Write width * clamp(round(x * factor)) into y, which may be x; return where nothing was clamped, bool.

        Factor, bounds and width are ().
        """
        inside = torch.empty_like(x, dtype=torch.bool)
        grid = [float(one) for one in (factor, *bounds, width)]

        def of_part(part: Tensor, result: Tensor, marks: Tensor) -> None:
            self._library.call("grid_and_mask", part.numel(), part, *grid, result, marks)

        in_parts(of_part, _values(x), _values(y), _values(inside))
        return inside

    def grid(self, x: Tensor, y: Tensor, factor: Tensor, bounds: tuple[Tensor, Tensor], width: Tensor) -> None:
        """Do what `grid_and_mask` does, without the mask."""
        grid = [float(one) for one in (factor, *bounds, width)]

        def of_part(part: Tensor, result: Tensor) -> None:
            self._library.call("grid", part.numel(), part, *grid, result)

        in_parts(of_part, _values(x), _values(y))

    def masked(self, gradient: Tensor, inside: Tensor) -> Tensor:
        """The gradient where `inside` is true, else 0."""
        y = torch.empty_like(gradient)

        def of_part(part: Tensor, marks: Tensor, result: Tensor) -> None:
            self._library.call("masked", part.numel(), part, marks, result)

        in_parts(of_part, _values(gradient), _values(inside), _values(y))
        return y

    def whole_steps(self, x: Tensor, scale: float) -> EightBits | None:
        """A map x = (steps - zero) * scale in 8 bits, or None unless all values are such steps."""
        steps = torch.empty_like(x, dtype=torch.uint8)

        def of_part(part: Tensor, result: Tensor) -> tuple[float, ...]:
            ends = torch.empty(2, dtype=torch.int32)
            whole = self._library.call("whole_steps", part.numel(), part, 1 / scale, result, ends)
            return tuple(ends.tolist()) if whole else (-math.inf, math.inf)

        lows, highs = zip(*in_parts(of_part, _values(x), _values(steps)), strict=True)
        lowest, highest = min(0, *lows), max(highs)
        if highest - lowest > 255:
            return None
        return EightBits(steps=steps.add_(int(-lowest)) if lowest < 0 else steps, zero=-int(lowest), scale=scale)

    def weights_on_grid(self, weight: Tensor, steps: int, smallest_scale: float) -> tuple[Tensor, Tensor, Tensor]:
        """Scale (outputs,), int8 steps and values of a weight (outputs, ...) whose largest magnitudes are `steps`.

        Each output's weights lie together, as in `takes_values`. A scale is at least `smallest_scale`.
        """
        outputs, scale = len(weight), weight.new_empty(len(weight))
        rounded, values = torch.empty_like(weight, dtype=torch.int8), torch.empty_like(weight)
        sizes = outputs, weight.numel() // outputs
        self._library.call("weights_on_grid", *sizes, weight, float(steps), smallest_scale, scale, rounded, values)
        return scale, rounded, values

    def values(self, of: EightBits) -> Tensor:
        """The values of a map in 8 bits, in its layout."""
        y = torch.empty_like(of.steps, dtype=torch.float32)

        def of_part(part: Tensor, result: Tensor) -> None:
            self._library.call("from_steps", part.numel(), part, float(of.zero), of.scale, result)

        in_parts(of_part, _values(of.steps), _values(y))
        return y


def _float_on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0


def _rows(x: Tensor) -> Tensor:
    """A view (rows, channels) of a map (batch, channels, bins, frames) in channels_last."""
    return x.detach().permute(0, 2, 3, 1).view(-1, x.shape[1])


def _values(x: Tensor) -> Tensor:
    """A view of all values of a tensor without gaps, (values,), in the order of memory."""
    return x.detach().as_strided((x.numel(),), (1,))


@functools.cache
def kernels() -> Kernels | None:
    """The compiled functions, or None if this machine cannot compile them. The first call may take two seconds."""
    found = library(_SOURCE)
    return None if found is None else Kernels(found)
