"""The integer form as float operations between explicit quantise and dequantise pairs, for compilers to lower.

The operators are torch's `quantized_decomposed`, which ExecuTorch and LiteRT recognise; activations are signed (steps
-128..127), which is the same grid with its zero point moved. Weights, biases and grids are those that are stored.
https://docs.pytorch.org/executorch/stable/backends/xnnpack/xnnpack-quantization.html
"""

import importlib
import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.models.layers import SqueezeExcite, StoredNorm
from asc.quant.fake import STEPS, WEIGHT_STEPS
from asc.quant.integer import IntegerBlock, IntegerLayer, IntegerNet, IntegerQuantiser
from asc.size import KERNEL

Converter = Literal["executorch", "litert"]

_SIGNED = 128
_OPERATORS = "torch.ao.quantization.fx._decomposed"


class Grid(nn.Module):
    """A per-tensor grid of signed 8-bit steps; each user of a tensor dequantises it for itself, as LiteRT demands."""

    def __init__(self, stored: IntegerQuantiser) -> None:
        """Take the stored scale and zero point over as plain numbers, which exports need."""
        super().__init__()
        self.scale, self.zero_point = float(stored.scale), int(stored.zero_point) - _SIGNED
        self._arguments = (self.scale, self.zero_point, -_SIGNED, STEPS - _SIGNED, torch.int8)

    def forward(self, x: Tensor) -> Tensor:
        """Float values to int8 steps of the same shape."""
        return _operators().quantize_per_tensor(x, *self._arguments)  # type: ignore[no-any-return]

    def real(self, steps: Tensor) -> Tensor:
        """Int8 steps to the float values that they stand for."""
        return _operators().dequantize_per_tensor(steps, *self._arguments)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """A convolution or linear layer with its quantised output.

    The weights are int8, or with `float_weights` the same numbers as float32 behind a quantise and dequantise pair.
    """

    weight: Tensor
    weight_scale: Tensor
    zero_points: Tensor
    bias: Tensor

    def __init__(self, stored: IntegerLayer, input_scale: Tensor, *, relu: bool, float_weights: bool) -> None:
        """`input_scale` is the step of the input's grid: a stored bias is in steps of it and the weight's."""
        super().__init__()
        weight, bias = stored.real(input_scale.double())
        self.relu, self._float_weights = relu, float_weights
        self._stride, self._groups = stored.stride, stored.groups
        self.register_buffer("weight", weight.float() if float_weights else stored.weight.clone())
        self.register_buffer("weight_scale", stored.weight_scale.clone())
        self.register_buffer("zero_points", torch.zeros(len(bias), dtype=torch.int64))
        self.bias = nn.Parameter(bias.float(), requires_grad=False)
        self.output = Grid(stored.output)

    def forward(self, x: Tensor) -> Tensor:
        """Float (batch, inputs, ...) on its grid to int8 steps (batch, outputs, ...)."""
        arguments = (self.weight_scale, self.zero_points, 0, -WEIGHT_STEPS, WEIGHT_STEPS, torch.int8)
        weight = self.weight
        if self._float_weights:
            weight = _operators().quantize_per_channel(weight, *arguments)
        weight = _operators().dequantize_per_channel(weight, *arguments)
        if weight.dim() == 2:
            y = functional.linear(x, weight, self.bias)
        else:
            padding = KERNEL // 2 if weight.shape[2] == KERNEL else 0
            y = functional.conv2d(x, weight, self.bias, self._stride, padding, 1, self._groups)
        steps: Tensor = self.output(torch.relu(y) if self.relu else y)
        return steps


class Gate(nn.Module):
    """The gate of squeeze and excitation in float, its batch norm folded into the linear layer after it."""

    def __init__(self, stored: SqueezeExcite) -> None:
        """Take over the stored values."""
        super().__init__()
        norm = stored.norm
        assert isinstance(norm, StoredNorm)
        factor = norm.weight.double() * torch.rsqrt(norm.running_var.double() + 1e-5)
        offset = norm.bias.double() - norm.running_mean.double() * factor
        weight = stored.expand.weight.double()
        self.reduce = _linear(stored.reduce.weight, stored.reduce.bias)
        self.expand = _linear(weight * factor, stored.expand.bias.double() + weight @ offset)

    def forward(self, x: Tensor) -> Tensor:
        """The factors (batch, channels, 1, 1) for a map (batch, channels, bins, frames).

        The mean is written as a pooling: LiteRT's converter transposes a map before `mean`, and keeps two float copies.
        """
        mean = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return torch.sigmoid(self.expand(torch.relu(self.reduce(mean))))[:, :, None, None]


class Block(nn.Module):
    """One double conv block."""

    def __init__(self, stored: IntegerBlock, source: Grid, input_scale: Tensor, *, float_weights: bool) -> None:
        """`source` and `input_scale` are the grid of the block's input."""
        super().__init__()
        inner, squeezed = stored.conv1.output.scale, stored.conv2.output
        self.source = source
        self.conv1 = Layer(stored.conv1, input_scale, relu=True, float_weights=float_weights)
        self.conv2 = Layer(stored.conv2, inner, relu=True, float_weights=float_weights)
        self.squeezed = Grid(squeezed)
        self.gate = Gate(stored.se)
        self.excited = Grid(stored.se_output)
        self.skip, self.add = None, None
        if stored.skip is not None and stored.add is not None:
            self.skip = Layer(stored.skip, input_scale, relu=False, float_weights=float_weights)
            self.add = Grid(stored.add)

    @property
    def output(self) -> Grid:
        """The grid of the block's output."""
        return self.excited if self.add is None else self.add

    def forward(self, steps: Tensor) -> Tensor:
        """Int8 steps (batch, in_channels, bins, frames) to int8 steps (batch, channels, bins, frames), strided."""
        inner = self.conv2(self.conv1.output.real(self.conv1(self.source.real(steps))))
        gate = self.gate(self.squeezed.real(inner))
        y: Tensor = self.excited(self.squeezed.real(inner) * gate)
        if self.skip is None or self.add is None:
            return y
        skip = self.skip.output.real(self.skip(self.source.real(steps)))
        added: Tensor = self.add(self.excited.real(y) + skip)
        return added


class DecomposedNet(nn.Module):
    """Float log-mel in, float logits on the last layer's grid out; everything between lies between Q/DQ pairs."""

    def __init__(self, stored: IntegerNet, *, converter: Converter) -> None:
        """Build from the stored form as a converter wants it: LiteRT's wants float weights, ExecuTorch's int8."""
        super().__init__()
        self._converter, float_weights = converter, converter == "litert"
        importlib.import_module(_OPERATORS)  # which registers the operators
        self.input = Grid(stored.input)
        self.stem = Layer(stored.stem, stored.input.scale, relu=True, float_weights=float_weights)
        blocks, quantiser, grid = [], stored.stem.output, self.stem.output
        for block in stored.integer_blocks():
            blocks.append(Block(block, grid, quantiser.scale, float_weights=float_weights))
            quantiser, grid = block.output_quantiser, blocks[-1].output
        self.blocks = nn.ModuleList(blocks)
        self.last = grid
        self.pooled = Grid(stored.pool_output)
        self.dense = Layer(stored.dense, stored.pool_output.scale, relu=False, float_weights=float_weights)
        self.eval()

    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel (batch, 1, mel_bands, frames), float32, to logits (batch, classes)."""
        steps = self.stem(self.input.real(self.input(log_mel)))
        for block in self.blocks:
            steps = block(steps)
        statistics = torch.cat([self._mean(steps), self._deviation(steps)], dim=1)
        return self.dense.output.real(self.dense(self.pooled.real(self.pooled(statistics))))

    def _mean(self, steps: Tensor) -> Tensor:
        return self.last.real(steps).mean(dim=3).flatten(1)

    def _deviation(self, steps: Tensor) -> Tensor:
        """From a mean of its own: LiteRT's converter rounds the one that is given out to 8 bits, for all its users.

        There it is over another shape, so that the two are not found to be the same (9 steps off were measured), a
        shape that torch cannot follow where time is dynamic.
        """
        values, more = self.last.real(steps), self.last.real(steps)
        if self._converter == "litert":
            values, more = values.flatten(1, 2), more.flatten(1, 2)
        squares = (values - more.mean(dim=-1, keepdim=True)).square()
        return torch.sqrt(squares.mean(dim=-1) + 1e-5).flatten(1)


def shortest_frames(network: IntegerNet) -> int:
    """The fewest frames of a clip: two must be left behind the strides, for a length of one is a special case."""
    return 2 * math.prod(network.architecture.time_strides)


def _operators() -> Any:
    return torch.ops.quantized_decomposed


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight = nn.Parameter(weight.float(), requires_grad=False)
    linear.bias = nn.Parameter(bias.float(), requires_grad=False)
    return linear
