"""Fake-quantised layers for training: values lie on an 8-bit grid, gradients pass straight through.

Jacob et al. 2017, https://arxiv.org/abs/1712.05877; report, section 3.1. Activations: per tensor, affine, steps 0..255.
Weights: per output channel, symmetric, steps -127..127. In eval mode a layer computes with exactly the weights and
biases that the integer form stores (`StoredIntegers`), so the two forms differ only in the rounding of float sums.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.models.batch_norm import BatchNorm2d
from asc.models.layers import STEPS, affine, every, folded, in_bands
from asc.models.pieces import pieces
from asc.models.remembered import Remembered
from asc.models.weight_grid import SMALLEST_SCALE, StoredIntegers, fake_quantise_weight, rounded, store, weight_scale
from asc.models.workers import ALONE, Workers


class _OnGrid(torch.autograd.Function):
    """Rounds to the nearest grid point; the gradient is 1 within the grid and 0 where the value was clamped.

    On a CPU it takes less than a quarter of the time of `torch.fake_quantize_per_tensor_affine`, because it goes over
    the map piece by piece: each piece stays in the cache from one operation to the next. What the backward pass needs
    is one byte a value.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor | None, in_place: bool) -> Tensor:
        on_grid = x if in_place else torch.empty_like(x)
        if in_place:
            ctx.mark_dirty(x)
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
        if self.training and self.observing:
            self._follow(*self.batch_range(x.detach()))
        else:
            self.require_range()
        return self.on_grid(x, in_place=in_place)

    def on_grid(self, x: Tensor, *, in_place: bool = False) -> Tensor:
        """Put values of any shape on the grid, whose range stays as it is."""
        zero_point = None if self.nonnegative else self.zero_point
        on_grid: Tensor = _OnGrid.apply(x, self.scale, zero_point, in_place)  # type: ignore[no-untyped-call]
        return on_grid

    def batch_range(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Minimum and maximum, both (), of the whole batch; `x`, of any shape, is this worker's part."""
        # Separate amin and amax are several times faster on a CPU than aminmax.
        high = x.amax()
        low = torch.zeros_like(high) if self.nonnegative else x.amin()
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

    def _follow(self, low: Tensor, high: Tensor) -> None:
        low, high = low.clamp(max=0), high.clamp(min=0)
        if not self._known:
            self._known = bool(torch.isfinite(self.low))
        if self._known:
            self.low.lerp_(low, self.momentum)
            self.high.lerp_(high, self.momentum)
        else:
            self.low.copy_(low)
            self.high.copy_(high)
        self.scale.copy_(((self.high - self.low) / STEPS).clamp_(min=SMALLEST_SCALE))
        if not self.nonnegative:
            self.zero_point.copy_((-self.low / self.scale).round_().clamp_(0, STEPS))


class ConvBn(nn.Module):
    """Convolution, with `norm` batch norm, and with `relu` a ReLU, as one quantised layer.

    The stored weight and bias include the batch norm; without one, no bias is stored.

    In training the convolution's own weight is quantised. The grid of the folded weight, w gamma / sigma, is the same
    one scaled by |gamma| / sigma per channel. So the result equals that of torch's fused `ConvBnReLU2d`, which scales,
    quantises and divides back, but no division is needed (https://docs.pytorch.org/docs/stable/quantization.html).
    """

    def __init__(self, conv: nn.Conv2d, *, relu: bool = True, norm: bool = True) -> None:
        """`conv` has no bias."""
        super().__init__()
        self.conv = conv
        self.norm = BatchNorm2d(conv.out_channels) if norm else None
        self.output = ActivationQuantiser(nonnegative=relu)
        self._real: Remembered[tuple[Tensor, Tensor]] = Remembered()

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """(batch, inputs, bins, frames) to (batch, outputs, ceil(bins / stride), ceil(frames / stride)), on the grid.

        `input_scale`, (), is the scale of x's grid; it decides how the bias is rounded in eval mode.
        """
        bias: Tensor | None
        if not self.training:
            read = self.conv.weight, *_state(self.norm), input_scale
            y = _convolve(
                self.conv, x, *self._real.get(lambda: self.stored(input_scale).dequantised(input_scale), *read)
            )
        elif self.norm is None:
            y = _convolve(self.conv, x, fake_quantise_weight(self.conv.weight), None)
        elif self.norm.training:
            y = self.norm(_convolve(self.conv, x, fake_quantise_weight(self.conv.weight), None))
        else:
            weight, bias = folded(self.conv, self.norm)
            y = _convolve(self.conv, x, fake_quantise_weight(weight), bias)
        quantised: Tensor = self.output(y, in_place=True)
        return quantised

    def stored(self, input_scale: Tensor) -> StoredIntegers:
        """This layer's stored integers, given the step of its input's grid; without a norm the bias is zero."""
        if self.norm is None:
            return store(self.conv.weight, torch.zeros_like(self.conv.weight[:, 0, 0, 0]), input_scale)
        return store(*folded(self.conv, self.norm), input_scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBands:
    """What a sub-spectral layer stores: int8 weight (channels, 1, rows, columns), and floats (channels x bands,).

    An output is accumulator x input scale x `scale` + `shift`.
    """

    weight: Tensor
    scale: Tensor
    shift: Tensor


class SubSpectral(nn.Module):
    """Depthwise convolution and sub-spectral norm as one quantised layer.

    The norm is never folded into the weights, because they are the same for all bands.
    """

    def __init__(self, channels: int, bands: int, *, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        """`kernel`, of odd sizes, and `stride` are (frequency, time)."""
        super().__init__()
        padding = kernel[0] // 2, kernel[1] // 2
        self.bands = bands
        self.conv = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False)
        self.norm = BatchNorm2d(channels * bands)
        self.output = ActivationQuantiser()

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """(batch, channels, bins, frames) to (batch, channels, ceil(bins / stride), ceil(frames / stride)), on a grid.

        In every mode the weights are on the grid of `weight_scale`, as they are stored.
        """
        y = _convolve(self.conv, x, fake_quantise_weight(self.conv.weight), None)
        quantised: Tensor = self.output(self.norm(in_bands(y, self.bands)).reshape(y.shape))
        return quantised

    def stored(self) -> StoredBands:
        """What is stored of this layer."""
        step = weight_scale(self.conv.weight)
        scale, shift = affine(self.norm)
        scale = scale.view(len(step), -1) * step[:, None]
        return StoredBands(weight=rounded(self.conv.weight, step), scale=scale.flatten(), shift=shift)


class QuantConv1x1(nn.Module):
    """Quantised 1x1 convolution with bias, without batch norm or ReLU: the projection of a skip."""

    def __init__(self, inputs: int, outputs: int, *, stride: tuple[int, int]) -> None:
        """`stride` is (frequency, time)."""
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(inputs, outputs, 1)
        self.output = ActivationQuantiser()

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """Shapes and `input_scale` as for `ConvBn`."""
        x = every(x, self.stride)
        if self.training:
            y = _convolve(self.conv, x, fake_quantise_weight(self.conv.weight), self.conv.bias)
        else:
            weight, bias = self.stored(input_scale).dequantised(input_scale)
            y = _convolve(self.conv, x, weight, bias)
        quantised: Tensor = self.output(y, in_place=True)
        return quantised

    def stored(self, input_scale: Tensor) -> StoredIntegers:
        """This layer's stored integers, given the step of its input's grid."""
        assert self.conv.bias is not None
        return store(self.conv.weight, self.conv.bias, input_scale)


class QuantLinear(nn.Module):
    """Quantised linear layer whose output is quantised too (report, section 3.1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Build the layer; its weights come from torch's global generator."""
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.output = ActivationQuantiser()

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """(batch, inputs) to (batch, outputs), on the grid; `input_scale` as for `ConvBn`."""
        if self.training:
            y = functional.linear(x, fake_quantise_weight(self.linear.weight), self.linear.bias)
        else:
            y = functional.linear(x, *self.stored(input_scale).dequantised(input_scale))
        quantised: Tensor = self.output(y)
        return quantised

    def stored(self, input_scale: Tensor) -> StoredIntegers:
        """This layer's stored integers, given the step of its input's grid."""
        return store(self.linear.weight, self.linear.bias, input_scale)


class QuantMapLinear(nn.Module):
    """Quantised linear layer over a map that is pooled after it (`Dense` with `over_map`).

    Batch norm sees the whole map. Everything after that is linear, so the pooled map, on its grid, gives the output.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        """Build the layer; its weights come from torch's global generator."""
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.norm = BatchNorm2d(outputs)
        self.output = ActivationQuantiser()

    def forward(self, x: Tensor, grid: ActivationQuantiser) -> Tensor:
        """(batch, inputs, bins, frames) to (batch, outputs), on the grid; `grid` is that of the pooled map."""
        exact = x.mean(dim=(2, 3))
        pooled = grid(exact)
        if self.norm.training:
            weight = fake_quantise_weight(self.linear.weight)
            mean = self.norm(functional.conv2d(x, weight[:, :, None, None])).mean(dim=(2, 3))
            rounding = functional.linear(pooled - exact, folded(self.linear, self.norm)[0])
            y = mean + rounding.detach()
        elif self.training:
            weight, bias = folded(self.linear, self.norm)
            y = functional.linear(pooled, fake_quantise_weight(weight), bias)
        else:
            y = functional.linear(pooled, *self.stored(grid.scale).dequantised(grid.scale))
        quantised: Tensor = self.output(y)
        return quantised

    def stored(self, input_scale: Tensor) -> StoredIntegers:
        """This layer's stored integers, given the scale () of the grid of the pooled map."""
        return store(*folded(self.linear, self.norm), input_scale)


def _state(norm: BatchNorm2d | None) -> tuple[Tensor, ...]:
    """What a batch norm does depends on. Its counter tells of new statistics, which torch writes without counting."""
    if norm is None:
        return ()
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    return norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.num_batches_tracked


def _convolve(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return functional.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
