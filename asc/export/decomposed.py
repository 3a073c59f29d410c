"""The integer form as float operations between explicit quantise and dequantise pairs, for compilers to lower.

The operators are torch's `quantized_decomposed`, which ExecuTorch and LiteRT recognise; activations are signed (steps
-128..127), which is the same grid with its zero point moved. Weights, biases and grids are those that are stored.
https://docs.pytorch.org/executorch/stable/backends/xnnpack/xnnpack-quantization.html
"""

import importlib
from typing import Any, Literal, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.models.fake_quantised import STEPS, WEIGHT_STEPS
from asc.models.integer import IntegerLayer, IntegerNet, IntegerQuantiser
from asc.models.layered import Layered
from asc.models.layers import SqueezeExcite, folded_expand
from asc.topology import layers as kinds

Converter = Literal["executorch", "litert"]
CONVERTERS: tuple[Converter, ...] = ("executorch", "litert")

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
    """A convolution or linear layer.

    The weights are int8, or with `float_weights` the same numbers as float32, quantised and dequantised.
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

    def forward(self, x: Tensor) -> Tensor:
        """Float (batch, inputs, ...) on its grid to float (batch, outputs, ...)."""
        arguments = (self.weight_scale, self.zero_points, 0, -WEIGHT_STEPS, WEIGHT_STEPS, torch.int8)
        weight = self.weight
        if self._float_weights:
            weight = _operators().quantize_per_channel(weight, *arguments)
        weight = _operators().dequantize_per_channel(weight, *arguments)
        if weight.dim() == 2:
            y = functional.linear(x, weight, self.bias)
        else:
            padding = weight.shape[2] // 2, weight.shape[3] // 2
            y = functional.conv2d(x, weight, self.bias, self._stride, padding, 1, self._groups)
        return torch.relu(y) if self.relu else y


class Gate(nn.Module):
    """The gate of squeeze and excitation in float, its batch norm folded into the linear layer after it."""

    def __init__(self, stored: SqueezeExcite) -> None:
        """Take over the stored values."""
        super().__init__()
        self.reduce = _linear(stored.reduce.weight, stored.reduce.bias)
        self.expand = _linear(*folded_expand(stored))

    def forward(self, x: Tensor) -> Tensor:
        """The factors (batch, channels, 1, 1) for a map (batch, channels, bins, frames).

        The mean is written as a pooling: LiteRT's converter transposes a map before `mean`, and keeps two float copies.
        """
        mean = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return torch.sigmoid(self.expand(torch.relu(self.reduce(mean))))[:, :, None, None]


class DecomposedNet(Layered):
    """Float log-mel in, float logits on the last layer's grid out; everything between lies between Q/DQ pairs."""

    def __init__(self, stored: IntegerNet, *, converter: Converter) -> None:
        """Build from the stored form as a converter wants it: LiteRT's wants float weights, ExecuTorch's int8."""
        super().__init__(stored.topology, stored.front_end)
        self._converter = converter
        importlib.import_module(_OPERATORS)  # which registers the operators
        for layer in self.topology.layers:
            module = _built(stored, layer, float_weights=converter == "litert")
            if module is not None:
                self.attach(layer.name, module)
            self.attach(layer.grid, Grid(stored.grid_of(layer.name)))
        self.eval()

    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel (batch, 1, mel_bands, frames), float32, to logits (batch, classes)."""
        return self._real(self.topology.classifier.name, self.topology.walk(self._output, log_mel))

    def _output(self, layer: kinds.Layer, read: tuple[Tensor, ...]) -> Tensor:
        """The int8 steps that a layer makes of the steps that it reads."""
        y: Tensor
        match layer:
            case kinds.Input():
                y = read[0]
            case kinds.ConvNormRelu() | kinds.Projection() | kinds.Dense():
                y = self.module_of(layer)(self._real(layer.reads[0], *read))
            case kinds.SqueezeExcite():
                gate = self.module_of(layer)(self._real(layer.reads[0], *read))
                y = self._real(layer.reads[0], *read) * gate
            case kinds.Add():
                y = self._real(layer.reads[0], read[0]) + self._real(layer.reads[1], read[1])
            case kinds.StatisticsPool():
                y = torch.cat([self._mean(layer.reads[0], *read), self._deviation(layer.reads[0], *read)], dim=1)
            case _:
                assert_never(layer)
        steps: Tensor = self.grid_of(layer.name)(y)
        return steps

    def _real(self, name: str, steps: Tensor) -> Tensor:
        values: Tensor = self.grid_of(name).real(steps)
        return values

    def _mean(self, name: str, steps: Tensor) -> Tensor:
        return self._real(name, steps).mean(dim=3).flatten(1)

    def _deviation(self, name: str, steps: Tensor) -> Tensor:
        """From a mean of its own: LiteRT's converter rounds the one that is given out to 8 bits, for all its users.

        There it is over another shape, so that the two are not found to be the same (9 steps off were measured), a
        shape that torch cannot follow where time is dynamic.
        """
        values, more = self._real(name, steps), self._real(name, steps)
        if self._converter == "litert":
            values, more = values.flatten(1, 2), more.flatten(1, 2)
        squares = (values - more.mean(dim=-1, keepdim=True)).square()
        return torch.sqrt(squares.mean(dim=-1) + 1e-5).flatten(1)


def shortest_frames(network: IntegerNet) -> int:
    """The fewest frames of a clip: two must be left after the strides, for a length of one is a special case."""
    return 2 * network.topology.time_strides[network.topology.pool.name]


def _built(stored: IntegerNet, layer: kinds.Layer, *, float_weights: bool) -> nn.Module | None:
    """What computes a layer, its grid aside, if that takes numbers of its own."""
    match layer:
        case kinds.ConvNormRelu() | kinds.Projection() | kinds.Dense():
            scale = stored.grid_of(layer.reads[0]).scale
            relu = isinstance(layer, kinds.ConvNormRelu)
            return Layer(stored.module_of(layer), scale, relu=relu, float_weights=float_weights)
        case kinds.SqueezeExcite():
            return Gate(stored.module_of(layer))
        case kinds.Input() | kinds.Add() | kinds.StatisticsPool():
            return None
        case _:
            assert_never(layer)


def _operators() -> Any:
    return torch.ops.quantized_decomposed


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight = nn.Parameter(weight.float(), requires_grad=False)
    linear.bias = nn.Parameter(bias.float(), requires_grad=False)
    return linear
