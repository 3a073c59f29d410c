"""The integer form as float operations between explicit quantise/dequantise (Q/DQ) pairs, for compilers to lower.

The operators are torch's `quantized_decomposed`, which ExecuTorch and LiteRT recognise. Activations are signed (steps
-128..127): the same grid with its zero point shifted. Weights, biases and grids are the stored ones.
https://docs.pytorch.org/executorch/stable/backends/xnnpack/xnnpack-quantization.html
"""

import importlib
from typing import Any, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.export.float_parts import Converter, Residual, Response, SubSpectral, parameterless_for
from asc.models.integer import IntegerNet
from asc.models.integer_layers import IntegerLayer, IntegerQuantiser
from asc.models.layered import Layered
from asc.models.layers import STEPS, BandNorm, SqueezeExcite, folded_expand, sum_of
from asc.models.weight_grid import WEIGHT_STEPS
from asc.topology import layers as kinds

_SIGNED = 128
_OPERATORS = "torch.ao.quantization.fx._decomposed"


class Grid(nn.Module):
    """A per-tensor grid of signed 8-bit steps; each reader of a tensor dequantises it again, as LiteRT requires."""

    def __init__(self, stored: IntegerQuantiser) -> None:
        """Copy the stored scale and zero point as plain Python numbers, which exports need."""
        super().__init__()
        self.scale, self.zero_point = float(stored.scale), int(stored.zero_point) - _SIGNED
        self._arguments = (self.scale, self.zero_point, -_SIGNED, STEPS - _SIGNED, torch.int8)

    def forward(self, x: Tensor) -> Tensor:
        """Quantise float values (any shape) to int8 steps of the same shape."""
        return _operators().quantize_per_tensor(x, *self._arguments)  # type: ignore[no-any-return]

    def real(self, steps: Tensor) -> Tensor:
        """Dequantise int8 steps (any shape) to float32 values of the same shape."""
        return _operators().dequantize_per_tensor(steps, *self._arguments)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """A convolution or linear layer.

    It holds int8 weights, or with `float_weights` float32 ones, which `forward` quantises to the same int8 values.
    """

    weight: Tensor
    weight_scale: Tensor
    zero_points: Tensor
    bias: Tensor | None

    def __init__(self, stored: IntegerLayer, input_scale: Tensor, *, relu: bool, float_weights: bool) -> None:
        """Take the stored layer; a stored bias is in steps of `input_scale` (of the input's grid) x weight scale."""
        super().__init__()
        weight, bias = stored.real(input_scale.double())
        self.relu, self._float_weights = relu, float_weights
        self._stride, self._padding, self._dilation = stored.stride, stored.padding, stored.dilation
        self._groups = stored.groups
        self.register_buffer("weight", weight.float() if float_weights else stored.weight.clone())
        self.register_buffer("weight_scale", stored.weight_scale.clone())
        self.register_buffer("zero_points", torch.zeros(len(bias), dtype=torch.int64))
        self.bias = None if stored.bias is None else nn.Parameter(bias.float(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map dequantised float32 (batch, inputs, ...) to float32 (batch, outputs, ...), not yet quantised."""
        arguments = (self.weight_scale, self.zero_points, 0, -WEIGHT_STEPS, WEIGHT_STEPS, torch.int8)
        weight = self.weight
        if self._float_weights:
            weight = _operators().quantize_per_channel(weight, *arguments)
        weight = _operators().dequantize_per_channel(weight, *arguments)
        if weight.dim() == 2:
            y = functional.linear(x, weight, self.bias)
        else:
            y = functional.conv2d(x, weight, self.bias, self._stride, self._padding, self._dilation, self._groups)
        return torch.relu(y) if self.relu else y


class Gate(nn.Module):
    """The gate of squeeze-and-excitation in float, its batch norm folded into the linear layer after it."""

    def __init__(self, stored: SqueezeExcite) -> None:
        """Copy the stored values."""
        super().__init__()
        self.reduce = _linear(stored.reduce.weight, stored.reduce.bias)
        self.expand = _linear(*folded_expand(stored))

    def forward(self, x: Tensor) -> Tensor:
        """Return the factors (batch, channels, 1, 1) float32 for a map (batch, channels, bins, frames) float32.

        The mean is written as pooling, because LiteRT's converter transposes a map before `mean` and so keeps two float
        copies of it.
        """
        mean = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return torch.sigmoid(self.expand(torch.relu(self.reduce(mean))))[:, :, None, None]


class DecomposedNet(Layered):
    """Maps float log-mel to float logits on the last layer's grid; after a band norm, layers lie between Q/DQ pairs."""

    def __init__(self, stored: IntegerNet, *, converter: Converter) -> None:
        """Build from the stored form, as the converter needs it: LiteRT's takes float weights, ExecuTorch's int8."""
        super().__init__(stored.topology, stored.front_end)
        self._converter = converter
        importlib.import_module(_OPERATORS)  # registers the operators
        for layer in self.topology.layers:
            module = _built(stored, layer, converter)
            if module is not None:
                self.attach(layer.name, module)
            if not isinstance(layer, kinds.BandNorm):
                self.attach(layer.grid, Grid(stored.grid_of(layer.name)))
        self.eval()

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map log-mel (batch, 1, mel_bands, frames) float32, natural log, to logits (batch, classes) float32."""
        return self._real(self.topology.classifier.name, self.topology.walk(self._output, log_mel))

    def _output(self, layer: kinds.Layer, read: tuple[Tensor, ...]) -> Tensor:
        """Return a layer's output as int8 steps, given those of the layers that it reads."""
        y: Tensor
        match layer:
            case kinds.BandNorm():
                return self.module_of(layer)(*read)  # type: ignore[no-any-return]  # still log-mel
            case kinds.Input():
                y = read[0]
            case kinds.ConvNorm() | kinds.SubSpectralConv() | kinds.Projection() | kinds.Dense():
                y = self.module_of(layer)(self._real(layer.reads[0], *read))
            case kinds.SqueezeExcite():
                gate = self.module_of(layer)(self._real(layer.reads[0], *read))
                y = self._real(layer.reads[0], *read) * gate
            case kinds.ResponseNorm() | kinds.ResidualNorm():
                y = self.module_of(layer)(self._real(layer.reads[0], *read), self._real(layer.reads[0], *read))
            case kinds.AveragePool() | kinds.MaxPool() | kinds.Swish() | kinds.FrequencyMean():
                y = parameterless_for(layer, self._converter)(self._real(layer.reads[0], *read))
            case kinds.MeanPool():
                y = functional.adaptive_avg_pool2d(self._real(layer.reads[0], *read), 1).flatten(1)
            case kinds.Add():
                terms = tuple(self._real(name, steps) for name, steps in zip(layer.reads, read, strict=True))
                y = sum_of(terms, relu=layer.relu)
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
        """Standard deviation over time, (batch, channels x bins) float32, from a mean of its own.

        It cannot share the mean of `_mean`: LiteRT's converter rounds that to 8 bits for all its readers, and the
        deviation was then 9 steps off. For LiteRT it is also taken over another shape, or the converter would merge the
        two means; torch cannot export that shape with dynamic time.
        """
        values, more = self._real(name, steps), self._real(name, steps)
        if self._converter == "litert":
            values, more = values.flatten(1, 2), more.flatten(1, 2)
        squares = (values - more.mean(dim=-1, keepdim=True)).square()
        return torch.sqrt(squares.mean(dim=-1) + 1e-5).flatten(1)


def _built(stored: IntegerNet, layer: kinds.Layer, converter: Converter) -> nn.Module | None:
    """Return the module of a layer that has parameters, without its output grid; None for other layers."""
    match layer:
        case kinds.BandNorm():
            return _band_norm(stored.module_of(layer))
        case kinds.ConvNorm() | kinds.Projection() | kinds.Dense():
            scale = stored.grid_of(layer.reads[0]).scale
            relu = isinstance(layer, kinds.ConvNorm) and layer.relu
            return Layer(stored.module_of(layer), scale, relu=relu, float_weights=converter == "litert")
        case kinds.SubSpectralConv():
            _, bins, _ = stored.topology.shapes(1)[layer.name]
            return SubSpectral(layer, stored.module_of(layer), bins=bins)
        case kinds.SqueezeExcite():
            return Gate(stored.module_of(layer))
        case kinds.ResponseNorm():
            return Response(stored.module_of(layer))
        case kinds.ResidualNorm():
            return Residual(stored.module_of(layer), converter=converter)
        case kinds.Input() | kinds.Add() | kinds.Swish() | kinds.FrequencyMean() | kinds.AveragePool():
            return None
        case kinds.MaxPool() | kinds.StatisticsPool() | kinds.MeanPool():
            return None
        case _:
            assert_never(layer)


def _band_norm(stored: BandNorm) -> BandNorm:
    norm = BandNorm(len(stored.mean))
    norm.load_state_dict(stored.state_dict())
    return norm


def _operators() -> Any:
    return torch.ops.quantized_decomposed


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight = nn.Parameter(weight.float(), requires_grad=False)
    linear.bias = nn.Parameter(bias.float(), requires_grad=False)
    return linear
