"""The 16-bit form as a float32 graph, for compilers to lower. Its weights are the stored float16 values.

Batch norms of SE bottlenecks are not folded: products would not be float16 values, which LiteRT's files keep as such.
"""

from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.export.float_parts import Converter, Residual, Response, SubSpectral, parameterless_for
from asc.models.float16 import HalfNet
from asc.models.layered import Layered, conv_of
from asc.models.layers import BandNorm, SqueezeExcite, StoredNorm, sum_of
from asc.topology import layers as kinds


class Gate(nn.Module):
    """The gate of squeeze-and-excitation."""

    factor: Tensor
    offset: Tensor

    def __init__(self, stored: SqueezeExcite) -> None:
        """Copy the stored values; the norm becomes a factor and an offset for each channel of the bottleneck."""
        super().__init__()
        assert isinstance(stored.norm, StoredNorm)
        self.reduce, self.expand = (_linear(layer) for layer in (stored.reduce, stored.expand))
        factor = stored.norm.weight.double() * torch.rsqrt(stored.norm.running_var.double() + nn.BatchNorm1d(1).eps)
        self.register_buffer("factor", factor.float())
        self.register_buffer("offset", (stored.norm.bias - stored.norm.running_mean.double() * factor).float())

    def forward(self, x: Tensor) -> Tensor:
        """Return the factors (batch, channels, 1, 1) float32 for a map (batch, channels, bins, frames) float32."""
        reduced = torch.relu(self.reduce(functional.adaptive_avg_pool2d(x, 1).flatten(1)))
        return torch.sigmoid(self.expand(reduced * self.factor + self.offset))[:, :, None, None]


class Float32Net(Layered):
    """Maps log-mel to logits, in float32 throughout."""

    def __init__(self, stored: HalfNet, *, converter: Converter) -> None:
        """Copy the stored numbers, for this converter."""
        super().__init__(stored.topology, stored.front_end)
        self._converter = converter
        for layer in self.topology.layers:
            module = _built(stored, layer, converter)
            if module is not None:
                self.attach(layer.name, module)
        self.requires_grad_(False)
        self.eval()

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map log-mel (batch, 1, mel_bands, frames) float32, natural log, to logits (batch, classes) float32."""
        return self.topology.walk(self._output, log_mel)

    def _output(self, layer: kinds.Layer, read: tuple[Tensor, ...]) -> Tensor:
        """Return a layer's output, given those of the layers that it reads."""
        y: Tensor
        match layer:
            case kinds.Input():
                return read[0]
            case kinds.ConvNorm():
                y = self.module_of(layer)(*read)
                return torch.relu(y) if layer.relu else y
            case kinds.SqueezeExcite():
                y = read[0] * self.module_of(layer)(*read)
            case kinds.ResponseNorm() | kinds.ResidualNorm():
                y = self.module_of(layer)(read[0], read[0])
            case kinds.Add():
                y = sum_of(read, relu=layer.relu)
            case kinds.MeanPool():
                y = functional.adaptive_avg_pool2d(read[0], 1).flatten(1)
            case kinds.AveragePool() | kinds.MaxPool() | kinds.Swish() | kinds.FrequencyMean() | kinds.StatisticsPool():
                y = parameterless_for(layer, self._converter)(*read)
            case kinds.BandNorm() | kinds.SubSpectralConv() | kinds.Projection() | kinds.Dense():
                y = self.module_of(layer)(*read)
            case _:
                assert_never(layer)
        return y


def _built(stored: HalfNet, layer: kinds.Layer, converter: Converter) -> nn.Module | None:
    """Return the module of a layer that has parameters; None for other layers."""
    match layer:
        case kinds.BandNorm():
            return _copy(stored.module_of(layer), BandNorm(layer.bins))
        case kinds.ConvNorm():
            return _copy(stored.module_of(layer), conv_of(layer, bias=layer.norm))
        case kinds.Projection():
            return _copy(stored.module_of(layer), nn.Conv2d(layer.inputs, layer.outputs, 1, layer.stride))
        case kinds.Dense():
            return _copy(stored.module_of(layer), nn.Linear(layer.inputs, layer.outputs))
        case kinds.SubSpectralConv():
            _, bins, _ = stored.topology.shapes(1)[layer.name]
            return SubSpectral(layer, stored.module_of(layer), bins=bins)
        case kinds.SqueezeExcite():
            return Gate(stored.module_of(layer))
        case kinds.ResponseNorm():
            return Response(stored.module_of(layer))
        case kinds.ResidualNorm():
            return Residual(stored.module_of(layer), converter=converter)
        case (
            kinds.Input()
            | kinds.Add()
            | kinds.Swish()
            | kinds.FrequencyMean()
            | kinds.AveragePool()
            | kinds.MaxPool()
            | kinds.StatisticsPool()
            | kinds.MeanPool()
        ):
            return None
        case _:
            assert_never(layer)


def _copy(stored: nn.Module, module: nn.Module) -> nn.Module:
    """Fill a new module, whose tensors are contiguous, with stored numbers."""
    module.load_state_dict(stored.state_dict())
    return module


def _linear(stored: nn.Linear) -> nn.Module:
    return _copy(stored, nn.Linear(stored.in_features, stored.out_features))
