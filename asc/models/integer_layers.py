"""Layers of the integer form: integer weights, exact sums, outputs on an 8-bit grid (Jacob et al. 2017).

https://arxiv.org/abs/1712.05877. What layers pass on are *steps*: 8-bit integers minus the zero point, so that zero
padding is exact. They are held in float tensors. float32 is exact as long as no sum can reach 2^24, which is checked
for each layer. Otherwise float64 is used, and always on a GPU, whose float32 convolutions may use TF32 or Winograd.
Large maps are held in bytes (`EightBits`) where the processor's integer units convolve them; the sums are the same.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.models.fused import EightBits, Steps, kernels
from asc.models.integer_units import IntegerConvolution, convolves, takes_layer
from asc.models.layers import STEPS, every, over_bands
from asc.models.remembered import Remembered

EXACT_IN_FLOAT32 = 2**24
Steps8 = Tensor | EightBits
"""Steps of a layer's output, as floats or as bytes."""


def in_floats(steps: Steps8) -> Tensor:
    """Steps as a float tensor."""
    if isinstance(steps, Tensor):
        return steps
    compiled = kernels()
    assert compiled is not None
    return compiled.values(steps)


class IntegerQuantiser(nn.Module):
    """A stored activation grid: float32 scale, int32 zero point."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self) -> None:
        """Build the buffers; their values come from a state_dict."""
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("zero_point", torch.tensor(0, dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """Float values of any shape to steps: 8-bit integers minus the zero point, in the same shape."""
        return self.settle(torch.mul(x, self.scale.reciprocal()))

    def settle(self, steps: Tensor) -> Tensor:
        """Round fractional steps and clamp them to 8 bits, in place."""
        zero_point = int(self.zero_point)
        return steps.round_().clamp_(-zero_point, STEPS - zero_point)

    def of_map(self, x: Tensor) -> Steps8:
        """Float values of a map (batch, channels, bins, frames) to steps."""
        factor = self.scale.reciprocal()
        return self.requantised(x, factor.expand(x.shape[1])) if convolves(x) else self(x)

    def requantised(self, sums: Tensor, factor: Tensor) -> Steps8:
        """Sums (batch, channels, ...) times factor (channels,) to steps, in the same shape; sums may be overwritten.

        A NaN stays one, so a map that has some stays in floats.
        """
        compiled = kernels()
        if compiled is not None and convolves(sums):
            lowest, offset = -float(self.zero_point), torch.zeros_like(factor)
            grid = Steps(factor=factor.contiguous(), offset=offset, lowest=lowest, highest=lowest + STEPS, width=1.0)
            in_bytes = compiled.steps_on_grid(sums, grid)
            if in_bytes is not None:
                return in_bytes
        return self.settle(sums.mul_(factor.view(-1, *[1] * (sums.dim() - 2))))

    def dequantise(self, steps: Steps8) -> Tensor:
        """Steps of any shape to float values."""
        if isinstance(steps, EightBits):
            return in_floats(replace(steps, scale=float(self.scale)))
        return steps * self.scale


class IntegerLayer(nn.Module):
    """A convolution or linear layer with int8 weights, int32 biases and a requantised output.

    A ReLU needs no operation of its own: its output has zero point 0, so clamping to 8 bits does it.
    """

    weight: Tensor
    bias: Tensor | None
    weight_scale: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        """`shape` is the weight's: (outputs, inputs / groups, rows, columns), or (outputs, inputs) if linear."""
        super().__init__()
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups = groups
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.int8))
        self.register_buffer("bias", torch.zeros(shape[0], dtype=torch.int32) if bias else None)
        self.register_buffer("weight_scale", torch.ones(shape[0]))
        self.output = IntegerQuantiser()
        self._factor: Remembered[Tensor] = Remembered()
        self._of_integers: Remembered[IntegerConvolution] = Remembered()
        self._in_float: Remembered[tuple[Tensor, Tensor | None]] = Remembered()

    def forward(self, steps: Steps8, input_scale: Tensor) -> Steps8:
        """Input steps (batch, inputs, ...) to output steps (batch, outputs, ...)."""
        scales = self.weight_scale, input_scale, self.output.scale
        factor = self._factor.get(lambda: _factor(*scales), *scales)
        sums = self.accumulate(steps)
        if sums.dtype != torch.float32:
            sums = sums.round_().to(torch.float32)
        return self.output.requantised(sums, factor)

    def accumulate(self, steps: Steps8) -> Tensor:
        """Input steps (batch, inputs, ...) to accumulators (batch, outputs, ...): exact sums, in float32 or float64."""
        weight, bias = self._in_float.get(self._floats, self.weight, *(() if self.bias is None else (self.bias,)))
        exact = weight.dtype == torch.float32 and weight.dim() == 4 and takes_layer(weight, self.groups)
        if isinstance(steps, EightBits) and exact:
            of_integers = self._of_integers.get(lambda: IntegerConvolution(weight=self.weight, shape=self), self.weight)
            return of_integers(steps, torch.ones_like(self.weight_scale), bias)
        given = in_floats(steps).to(weight.dtype)
        if weight.dim() == 2:
            return functional.linear(given, weight, bias)
        if weight.shape[2:] == (1, 1):
            return functional.conv2d(every(given, self.stride), weight, bias, groups=self.groups)
        return functional.conv2d(given, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def _floats(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias in a float dtype that holds every sum."""
        exact = not self.weight.is_cuda and self.largest_sum() < EXACT_IN_FLOAT32
        dtype = torch.float32 if exact else torch.float64
        layout = torch.channels_last if self.weight.dim() == 4 else torch.contiguous_format
        return self.weight.to(dtype, memory_format=layout), None if self.bias is None else self.bias.to(dtype)

    def real(self, input_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Dequantised float64 weight (shape as stored) and bias (outputs,), given the scale () of the input's grid."""
        scale = self.weight_scale.double()
        bias = torch.zeros_like(scale) if self.bias is None else self.bias * scale * input_scale
        return self.weight.double() * scale.view(-1, *[1] * (self.weight.dim() - 1)), bias

    def largest_sum(self) -> int:
        """An upper bound on the magnitude of any partial sum, whatever the input."""
        magnitudes = self.weight.to(torch.int64).abs().flatten(1).sum(1) * STEPS
        return int((magnitudes if self.bias is None else magnitudes + self.bias.to(torch.int64).abs()).max())


def _factor(weight_scale: Tensor, input_scale: Tensor, output_scale: Tensor) -> Tensor:
    """The multiplier (outputs,) of accumulators, in float32 as in the fake-quantised form."""
    return (weight_scale.double() * input_scale.double() / output_scale.double()).float()


class IntegerSubSpectral(nn.Module):
    """A depthwise convolution with int8 weights, and float factors and offsets for each channel and band.

    Sums are exact in float32: a kernel has at most 25 products, below 2^20.
    """

    weight: Tensor
    band_scale: Tensor
    band_shift: Tensor

    def __init__(self, channels: int, bands: int, *, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        """`kernel`, of odd sizes, and `stride` are (frequency, time)."""
        super().__init__()
        self.stride, self.padding = stride, (kernel[0] // 2, kernel[1] // 2)
        self.register_buffer("weight", torch.zeros(channels, 1, *kernel, dtype=torch.int8))
        self.register_buffer("band_scale", torch.ones(channels * bands))
        self.register_buffer("band_shift", torch.zeros(channels * bands))
        self.output = IntegerQuantiser()

    def forward(self, steps: Steps8, input_scale: Tensor) -> Tensor:
        """Input steps (batch, channels, bins, frames) to output steps of the strided shape.

        output = sums x (factor x input scale / output scale) + offset / output scale, in float32.
        """
        channels = len(self.weight)
        given = in_floats(steps)
        dtype = torch.float64 if given.is_cuda else torch.float32
        weight = self.weight.to(dtype, memory_format=torch.channels_last)
        sums = functional.conv2d(given.to(dtype), weight, None, self.stride, self.padding, 1, channels)
        sums = sums.round_().to(torch.float32)
        factor = (self.band_scale.double() * input_scale.double() / self.output.scale.double()).float()
        shift = (self.band_shift.double() / self.output.scale.double()).float()
        bins = sums.shape[2]
        return self.output.settle(sums.mul_(over_bands(factor, channels, bins)).add_(over_bands(shift, channels, bins)))
