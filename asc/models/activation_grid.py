"""The 8-bit grid of activations: per tensor, affine, steps 0..255; gradients pass straight through.

Jacob et al. 2017, https://arxiv.org/abs/1712.05877; report, section 3.1.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from asc.models.fused import Steps, kernels
from asc.models.layers import STEPS
from asc.models.pieces import pieces
from asc.models.weight_grid import SMALLEST_SCALE
from asc.models.workers import ALONE, Workers


class _OnGrid(torch.autograd.Function):
    """Rounds to the nearest grid point; the gradient is 1 within the grid and 0 where the value was clamped.

    A compiled loop does it in one pass over the map. Where there is none, torch's operations go over the map piece by
    piece: each piece stays in the cache from one operation to the next, with the same result, bit for bit. What the
    backward pass needs is one byte a value.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor | None, in_place: bool) -> Tensor:
        on_grid = x if in_place else torch.empty_like(x)
        if in_place:
            ctx.mark_dirty(x)
        compiled = kernels()
        if compiled is not None and compiled.takes_values(x, on_grid):
            grid = scale.reciprocal(), _bounds(scale, zero_point), scale
            if ctx.needs_input_grad[0]:
                ctx.save_for_backward(compiled.grid_and_mask(x, on_grid, *grid))
            else:
                compiled.grid(x, on_grid, *grid)
            return on_grid
        factor = scale.reciprocal()
        lowest, highest = _bounds(scale, zero_point)
        if ctx.needs_input_grad[0]:
            within = torch.empty_like(x, dtype=torch.bool)
            ctx.save_for_backward(within)
            for values, result, inside in pieces(x, on_grid, within):
                steps = torch.mul(values, factor).round_()
                inside.copy_(steps.eq_(torch.clamp(steps, lowest, highest, out=result)))
                result.mul_(scale)
        else:
            for values, result in pieces(x, on_grid):
                torch.mul(values, factor, out=result).round_().clamp_(lowest, highest).mul_(scale)
        return on_grid

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (within,) = ctx.saved_tensors
        compiled = kernels()
        if compiled is not None and compiled.takes_values(gradients[0], within):
            return compiled.masked(gradients[0], within), None, None, None
        # It has the layout of the values, because batch norm's backward is several times slower if layouts differ.
        gradient = torch.empty_like(within, dtype=gradients[0].dtype)
        for result, inside, given in pieces(gradient, within, gradients[0]):
            result.copy_(inside.view(torch.uint8)).mul_(given)
        return gradient, None, None, None


def _bounds(scale: Tensor, zero_point: Tensor | None) -> tuple[Tensor, Tensor]:
    """The lowest and highest step of a grid, minus its zero point; tensors, so that a GPU is not waited for."""
    lowest = torch.zeros_like(scale) if zero_point is None else -zero_point.to(scale.dtype)
    return lowest, lowest + STEPS


class ActivationQuantiser(nn.Module):
    """Per-tensor affine 8-bit grid whose range is a moving average of the batches' minima and maxima.

    The range always includes 0, so that zero padding is exact. With `nonnegative` it starts at 0; the quantiser then
    also acts as the ReLU, because it clamps negative values to 0.
    """

    low: Tensor
    high: Tensor
    scale: Tensor
    zero_point: Tensor

    def __init__(self, *, nonnegative: bool = False, momentum: float = 0.1) -> None:
        """`momentum` is the weight of a new batch in the moving average; the first batch sets it.

        The default is batch norm's. With 0.01, as in torch's observers, ranges lag in trainings of a few hundred steps.
        """
        super().__init__()
        self.nonnegative = nonnegative
        self.momentum = momentum
        self.observing = True
        self.workers: Workers = ALONE
        self._known = False
        self.register_buffer("low", torch.tensor(float("inf")))
        self.register_buffer("high", torch.tensor(float("-inf")))
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("zero_point", torch.tensor(0, dtype=torch.int32))

    def forward(self, x: Tensor, *, in_place: bool = False) -> Tensor:
        """Put values of any shape on the grid. In training mode, first update the range unless it is frozen.

        With `in_place`, x itself is changed. That is right where nothing else reads x, not even a backward pass.

        Raises:
            RuntimeError: there is no range yet, because no batch was seen in training mode.
        """
        if self.follows:
            self.follow(*self.batch_range(x.detach()))
        else:
            self.require_range()
        return self.on_grid(x, in_place=in_place)

    @property
    def follows(self) -> bool:
        """Whether batches change the range now."""
        return self.training and self.observing

    def on_grid(self, x: Tensor, *, in_place: bool = False) -> Tensor:
        """Put values of any shape on the grid, whose range stays as it is."""
        zero_point = None if self.nonnegative else self.zero_point
        on_grid: Tensor = _OnGrid.apply(x, self.scale, zero_point, in_place)  # type: ignore[no-untyped-call]
        return on_grid

    def steps(self, factor: Tensor, offset: Tensor) -> Steps:
        """The grid of factor x + offset, both (channels,), as seen from a map x on a CPU."""
        lowest = 0.0 if self.nonnegative else -float(self.zero_point)
        per_step = self.scale.reciprocal()
        return Steps(
            factor=factor * per_step,
            offset=offset * per_step,
            lowest=lowest,
            highest=lowest + STEPS,
            width=float(self.scale),
        )

    def batch_range(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Minimum and maximum, both (), of the whole batch; `x`, of any shape, is this worker's part."""
        # Separate amin and amax are several times faster on a CPU than aminmax.
        high = x.amax()
        return self.range_of_all(high if self.nonnegative else x.amin(), high)

    def range_of_all(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Minimum and maximum, both (), of the whole batch, given those of this worker's part."""
        low = torch.zeros_like(high) if self.nonnegative else low
        if self.workers.count == 1:
            return low, high
        negated_low, high = self.workers.max(torch.stack([-low, high]))
        return -negated_low, high

    def require_range(self) -> None:
        """Check that a batch was seen. The buffers are read only once, since that is slow on a GPU.

        Raises:
            RuntimeError: no batch was seen in training mode.
        """
        if self._known:
            return
        if not bool(torch.isfinite(self.low)):
            raise RuntimeError(
                "an activation quantiser has seen no batch: before you evaluate, freeze or convert the network, run it "
                "in training mode or load a trained state"
            )
        self._known = True

    def forget_check(self) -> None:
        """Make `require_range` read the buffers again; call this after loading another state."""
        self._known = False

    def follow(self, low: Tensor, high: Tensor) -> None:
        """Update the range with the minimum and maximum, both (), of the whole batch."""
        if not self._known:
            self._known = bool(torch.isfinite(self.low))
        if low.device.type == "cpu":
            self._follow_numbers(float(low), float(high))
        else:
            self._follow_tensors(low, high)

    def _follow_tensors(self, low: Tensor, high: Tensor) -> None:
        low, high = low.clamp(max=0), high.clamp(min=0)
        if self._known:
            self.low.lerp_(low, self.momentum)
            self.high.lerp_(high, self.momentum)
        else:
            self.low.copy_(low)
            self.high.copy_(high)
        self.scale.copy_(((self.high - self.low) / STEPS).clamp_(min=SMALLEST_SCALE))
        if not self.nonnegative:
            self.zero_point.copy_((-self.low / self.scale).round_().clamp_(0, STEPS))

    def _follow_numbers(self, low: float, high: float) -> None:
        """Do the same with Python's numbers: on a CPU, one of torch's operations takes as long as all of it."""
        for buffer, seen in ((self.low, min(low, 0.0)), (self.high, max(high, 0.0))):
            before = float(buffer)
            buffer.fill_(before + self.momentum * (seen - before) if self._known else seen)
        self.scale.fill_(max((float(self.high) - float(self.low)) / STEPS, SMALLEST_SCALE))
        ratio = -float(self.low) / float(self.scale)
        if not self.nonnegative and math.isfinite(ratio):  # else the loss is no number either
            self.zero_point.fill_(min(max(round(ratio), 0), STEPS))
