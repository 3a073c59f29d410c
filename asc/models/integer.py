"""The stored 8-bit network, evaluated with exact integer arithmetic (Jacob et al. 2017, arXiv:1712.05877).

Integers are held in float tensors. float32 is exact as long as no sum can reach 2^24, which is checked for each layer.
Otherwise float64 is used, and always on a GPU, whose float32 convolutions may use TF32 or Winograd. Layers pass on
*steps*: 8-bit integers minus the zero point, so that zero padding is exact. SE, response norms, residual norms and
pooling are in float. The factors and offsets of a sub-spectral norm are float too, but they act on integer sums.
"""

from collections.abc import Iterator, Mapping
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.config.front_end import FrontEnd
from asc.models.fused import Steps, kernels
from asc.models.integer_units import IntegerConvolution, in_eight_bits
from asc.models.layered import StoredForm, parameterless
from asc.models.layers import (
    STEPS,
    BandNorm,
    Pooling,
    StoredNorm,
    channels_last,
    every,
    gate_module,
    over_bands,
    sum_of,
)
from asc.models.remembered import Remembered
from asc.topology import layers as kinds
from asc.topology.topology import Topology

EXACT_IN_FLOAT32 = 2**24


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

    def requantise(self, sums: Tensor, factor: Tensor) -> Tensor:
        """Sums (batch, channels, ...) times factor (channels,) to steps, in the same shape; sums may be overwritten."""
        compiled = kernels()
        if compiled is not None and compiled.takes(sums):
            lowest = -float(self.zero_point)
            grid = Steps(
                factor=factor, offset=torch.zeros_like(factor), lowest=lowest, highest=lowest + STEPS, width=1.0
            )
            return compiled.on_grid(sums, grid, in_place=True)
        return self.settle(sums.mul_(factor.view(-1, *[1] * (sums.dim() - 2))))

    def dequantise(self, steps: Tensor) -> Tensor:
        """Steps of any shape to float values."""
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

    def forward(self, steps: Tensor, input_scale: Tensor) -> Tensor:
        """Input steps (batch, inputs, ...) to output steps (batch, outputs, ...)."""
        scales = self.weight_scale, input_scale, self.output.scale
        factor = self._factor.get(lambda: _factor(*scales), *scales)
        sums = self.accumulate(steps)
        if sums.dtype != torch.float32:
            sums = sums.round_().to(torch.float32)
        return self.output.requantise(sums, factor)

    def accumulate(self, steps: Tensor) -> Tensor:
        """Input steps (batch, inputs, ...) to accumulators (batch, outputs, ...): exact sums, in float32 or float64."""
        weight, bias = self._in_float.get(self._floats, self.weight, *(() if self.bias is None else (self.bias,)))
        if weight.dim() == 2:
            return functional.linear(steps.to(weight.dtype), weight, bias)
        if weight.shape[2:] == (1, 1):
            return functional.conv2d(every(steps.to(weight.dtype), self.stride), weight, bias, groups=self.groups)
        eight_bits = in_eight_bits(steps, 1.0) if weight.dtype == torch.float32 else None
        if eight_bits is not None:
            of_integers = self._of_integers.get(lambda: IntegerConvolution(weight=self.weight, shape=self), self.weight)
            return of_integers(eight_bits, torch.ones_like(self.weight_scale), bias)
        shape = self.stride, self.padding, self.dilation, self.groups
        return functional.conv2d(steps.to(weight.dtype), weight, bias, *shape)

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

    def forward(self, steps: Tensor, input_scale: Tensor) -> Tensor:
        """Input steps (batch, channels, bins, frames) to output steps of the strided shape.

        output = sums x (factor x input scale / output scale) + offset / output scale, in float32.
        """
        channels = len(self.weight)
        dtype = torch.float64 if steps.is_cuda else torch.float32
        weight = self.weight.to(dtype, memory_format=torch.channels_last)
        sums = functional.conv2d(steps.to(dtype), weight, None, self.stride, self.padding, 1, channels)
        sums = sums.round_().to(torch.float32)
        factor = (self.band_scale.double() * input_scale.double() / self.output.scale.double()).float()
        shift = (self.band_shift.double() / self.output.scale.double()).float()
        bins = sums.shape[2]
        return self.output.settle(sums.mul_(over_bands(factor, channels, bins)).add_(over_bands(shift, channels, bins)))


class IntegerNet(StoredForm):
    """The network as stored in 8 bits; its state_dict holds exactly the items of `asc.size.stored_items`.

    Layers pass on steps: 8-bit integers minus the zero point.
    """

    def __init__(self, topology: Topology, front_end: FrontEnd) -> None:
        """Build the network without values: call `load_state_dict` next, or use `to_integer`."""
        super().__init__(topology, front_end)
        for layer in self.topology.layers:
            for name, module in _built(layer):
                self.attach(name, module)
        self.requires_grad_(False)
        self.eval()

    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel (batch, 1, mel_bands, frames), float32, to logits (batch, classes) on the grid of the last layer.

        Raises:
            InputError: `log_mel` has another shape.
        """
        return self.logits(self.statistics(log_mel))

    @torch.no_grad()
    def statistics(self, log_mel: Tensor) -> Tensor:
        """Log-mel as for `forward` to the input steps (batch, inputs) of the last layer.

        They are the same for networks that differ only in their last layer.

        Raises:
            InputError: `log_mel` has another shape.
        """
        return self._run(log_mel, self.topology.layers[:-1])

    @torch.no_grad()
    def last_map(self, log_mel: Tensor, poolings: Mapping[str, Pooling] | None = None) -> Tensor:
        """Log-mel as for `forward` to the map (batch, channels, bins, frames) that is pooled over time, in float.

        If the log-mel are part of something longer, `poolings` replace the gates' own means over the map, by the names
        of `Topology.gates` (`asc.inference.stream`).

        Raises:
            InputError: `log_mel` has another shape.
        """
        steps = self._run(log_mel, self.topology.before_pool, poolings)
        return self._real(self.topology.pool.reads[0], steps)

    def _output(self, layer: kinds.Layer, read: tuple[Tensor, ...], pooling: Pooling) -> Tensor:
        """The output steps of a layer, given the steps that it reads."""
        steps: Tensor
        match layer:
            case kinds.BandNorm():
                steps = self.module_of(layer)(*read)  # still log-mel, not steps
            case kinds.Input():
                steps = channels_last(self.grid_of(layer.name)(*read))
            case kinds.ConvNorm() | kinds.SubSpectralConv() | kinds.Projection() | kinds.Dense():
                steps = self.module_of(layer)(*read, self.grid_of(layer.reads[0]).scale)
            case kinds.SqueezeExcite() | kinds.ResponseNorm() | kinds.ResidualNorm():
                steps = self.grid_of(layer.name)(self.module_of(layer)(self._real(layer.reads[0], *read), pooling))
            case kinds.Add():
                terms = tuple(self._real(name, values) for name, values in zip(layer.reads, read, strict=True))
                steps = self.grid_of(layer.name)(sum_of(terms, relu=layer.relu))
            case kinds.FrequencyMean():
                mean = self.module_of(layer)(*read)  # of integers, whose sum is exact
                steps = self.grid_of(layer.name)(self._real(layer.reads[0], mean))
            case kinds.AveragePool() | kinds.MaxPool():
                steps = self.grid_of(layer.name).settle(self.module_of(layer)(*read))
            case kinds.Swish() | kinds.StatisticsPool() | kinds.MeanPool():
                steps = self.grid_of(layer.name)(self.module_of(layer)(self._real(layer.reads[0], *read)))
            case _:
                assert_never(layer)
        return steps

    def _real(self, name: str, steps: Tensor) -> Tensor:
        """Dequantise output steps of the layer with this name."""
        values: Tensor = self.grid_of(name).dequantise(steps)
        return values

    def _pooled(self, pooled: Tensor) -> Tensor:
        steps: Tensor = self.grid_of(self.topology.pool.name)(pooled)
        return steps

    @torch.no_grad()
    def head(self, pooled: Tensor) -> Tensor:
        """Pooled statistics (batch, inputs) of a `last_map`, in float, to logits (batch, classes)."""
        return self.logits(self._pooled(pooled))

    @torch.no_grad()
    def logits(self, statistics: Tensor) -> Tensor:
        """Steps (batch, inputs) of `statistics` to logits (batch, classes) on the grid of the last layer."""
        layer = self.topology.classifier
        return self._real(layer.name, self.classifier(statistics, self.statistics_scale))

    @torch.no_grad()
    def raw_logits(self, log_mel: Tensor) -> Tensor:
        """Log-mel as for `forward` to float64 logits (batch, classes) before requantisation, for calibration.

        Raises:
            InputError: `log_mel` has another shape.
        """
        sums: Tensor = self.classifier.accumulate(self.statistics(log_mel)).double()
        return sums * self.classifier.weight_scale.double() * self.statistics_scale.double()

    @property
    def classifier(self) -> IntegerLayer:
        """The last layer."""
        found = super().classifier
        assert isinstance(found, IntegerLayer)
        return found

    @property
    def statistics_scale(self) -> Tensor:
        """The scale () of the last layer's input."""
        scale: Tensor = self.grid_of(self.topology.classifier.reads[0]).scale
        return scale


def _built(layer: kinds.Layer) -> Iterator[tuple[str, nn.Module]]:
    """The modules of a layer by name; a convolution or linear layer holds its own grid."""
    match layer:
        case kinds.ConvNorm():
            shape = layer.outputs, layer.inputs // layer.groups, *layer.kernel
            yield (
                layer.name,
                IntegerLayer(
                    shape,
                    stride=layer.stride,
                    padding=layer.padding,
                    dilation=layer.dilation,
                    groups=layer.groups,
                    bias=layer.norm,
                ),
            )
        case kinds.SubSpectralConv(channels=channels, bands=bands, kernel=kernel, stride=stride):
            yield layer.name, IntegerSubSpectral(channels, bands, kernel=kernel, stride=stride)
        case kinds.Projection():
            yield layer.name, IntegerLayer((layer.outputs, layer.inputs, 1, 1), stride=layer.stride)
        case kinds.Dense():
            yield layer.name, IntegerLayer((layer.outputs, layer.inputs))
        case kinds.SqueezeExcite() | kinds.ResponseNorm() | kinds.ResidualNorm():
            yield layer.name, gate_module(layer, StoredNorm)
            yield layer.grid, IntegerQuantiser()
        case kinds.BandNorm():
            yield layer.name, BandNorm(layer.bins)
        case kinds.AveragePool() | kinds.MaxPool():
            yield layer.name, parameterless(layer)
        case kinds.MeanPool() | kinds.StatisticsPool() | kinds.Swish() | kinds.FrequencyMean():
            yield layer.name, parameterless(layer)
            yield layer.grid, IntegerQuantiser()
        case kinds.Input() | kinds.Add():
            yield layer.grid, IntegerQuantiser()
        case _:
            assert_never(layer)
