"""The stored form in 16 bits: float16 values, float32 arithmetic, batch norms folded (report, section 4, system 4).

In memory the float16 numbers are held in float32 tensors, so that nothing is converted while the network runs. The
state_dict is float16, exactly what is stored.
"""

from collections.abc import Mapping
from typing import Any, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.config.front_end import FrontEnd
from asc.models.layered import StoredForm, conv_of, parameterless
from asc.models.layers import (
    BandNorm,
    Pooling,
    StoredNorm,
    channels_last,
    every,
    gate_module,
    over_bands,
    sum_of,
)
from asc.topology import layers as kinds
from asc.topology.topology import Topology


class HalfNet(StoredForm):
    """The network as stored in 16 bits; its state_dict holds exactly the items of `asc.size.stored_items`."""

    def __init__(self, topology: Topology, front_end: FrontEnd) -> None:
        """Build the network without values: call `load_state_dict` next, or use `to_half`."""
        super().__init__(topology, front_end)
        for layer in self.topology.layers:
            module = _built(layer)
            if module is not None:
                self.attach(layer.name, module)
        self.register_state_dict_post_hook(_as_float16)  # type: ignore[no-untyped-call]
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval()

    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel (batch, 1, mel_bands, frames), float32, to logits (batch, classes).

        Raises:
            InputError: `log_mel` has another shape.
        """
        return self.head(self.statistics(log_mel))

    def raw_logits(self, log_mel: Tensor) -> Tensor:
        """The logits of `forward` as float64; only in the 8-bit form do they differ from raw logits."""
        return self(log_mel).double()  # type: ignore[no-any-return]

    @torch.no_grad()
    def statistics(self, log_mel: Tensor) -> Tensor:
        """Log-mel as for `forward` to the input of the last layer (batch, inputs), float32.

        Raises:
            InputError: `log_mel` has another shape.
        """
        statistics: Tensor = self._run(log_mel, self.topology.layers[:-1])
        return statistics

    @torch.no_grad()
    def last_map(self, log_mel: Tensor, poolings: Mapping[str, Pooling] | None = None) -> Tensor:
        """Log-mel as for `forward` to the map (batch, channels, bins, frames) that is pooled over time.

        If the log-mel are part of something longer, `poolings` replace the gates' own means over the map, by the names
        of `Topology.gates` (`asc.inference.stream`).

        Raises:
            InputError: `log_mel` has another shape.
        """
        last_map: Tensor = self._run(log_mel, self.topology.before_pool, poolings)
        return last_map

    def _output(self, layer: kinds.Layer, read: tuple[Tensor, ...], pooling: Pooling) -> Tensor:
        """The output of a layer, given the tensors that it reads."""
        y: Tensor
        match layer:
            case kinds.Input():
                y = channels_last(*read)
            case kinds.ConvNorm():
                y = self.module_of(layer)(*read)
                y = torch.relu_(y) if layer.relu else y
            case kinds.Projection():
                y = self.module_of(layer)(every(read[0], layer.stride))
            case kinds.SqueezeExcite() | kinds.ResponseNorm() | kinds.ResidualNorm():
                y = self.module_of(layer)(*read, pooling)
            case kinds.BandNorm() | kinds.SubSpectralConv() | kinds.AveragePool() | kinds.MaxPool() | kinds.Swish():
                y = self.module_of(layer)(*read)
            case kinds.FrequencyMean() | kinds.StatisticsPool() | kinds.MeanPool() | kinds.Dense():
                y = self.module_of(layer)(*read)
            case kinds.Add():
                y = sum_of(read, relu=layer.relu)
            case _:
                assert_never(layer)
        return y

    @torch.no_grad()
    def head(self, pooled: Tensor) -> Tensor:
        """Pooled statistics (batch, inputs) of a `last_map` to logits (batch, classes)."""
        logits: Tensor = self.classifier(pooled)
        return logits

    @property
    def classifier(self) -> nn.Linear:
        """The last layer."""
        found = super().classifier
        assert isinstance(found, nn.Linear)
        return found


def _built(layer: kinds.Layer) -> nn.Module | None:
    """The module of a layer, if it has one."""
    match layer:
        case kinds.ConvNorm():
            return conv_of(layer, bias=layer.norm)
        case kinds.SubSpectralConv():
            return _SubSpectral(layer)
        case kinds.Projection():
            return nn.Conv2d(layer.inputs, layer.outputs, 1)
        case kinds.SqueezeExcite() | kinds.ResponseNorm() | kinds.ResidualNorm():
            return gate_module(layer, StoredNorm)
        case kinds.BandNorm():
            return BandNorm(layer.bins)
        case kinds.AveragePool() | kinds.MaxPool() | kinds.Swish():
            return parameterless(layer)
        case kinds.FrequencyMean() | kinds.MeanPool() | kinds.StatisticsPool():
            return parameterless(layer)
        case kinds.Dense():
            return nn.Linear(layer.inputs, layer.outputs)
        case kinds.Input() | kinds.Add():
            return None
        case _:
            assert_never(layer)


class _SubSpectral(nn.Module):
    """Depthwise convolution, then a factor and an offset for each channel and band."""

    band_scale: Tensor
    band_shift: Tensor

    def __init__(self, layer: kinds.SubSpectralConv) -> None:
        """Build the tensors; their values come from a state_dict."""
        super().__init__()
        self._layer = layer
        self.weight = nn.Parameter(torch.zeros(layer.channels, 1, *layer.kernel))
        self.register_buffer("band_scale", torch.ones(layer.normed))
        self.register_buffer("band_shift", torch.zeros(layer.normed))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, bins, frames) to the strided shape."""
        layer = self._layer
        y = functional.conv2d(x, self.weight, None, layer.stride, layer.padding, 1, layer.channels)
        scale, shift = (over_bands(values, *y.shape[1:3]) for values in (self.band_scale, self.band_shift))
        return y.mul_(scale).add_(shift)


def _as_float16(module: nn.Module, state: dict[str, Any], prefix: str, local_metadata: dict[str, Any]) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        state[name] = state[name].half()
