"""The stored 8-bit network, evaluated with exact integer arithmetic (Jacob et al. 2017, arXiv:1712.05877).

Layers pass on *steps*: 8-bit integers minus the zero point (`integer_layers.py`). SE, response norms, residual norms
and pooling are in float. The factors and offsets of a sub-spectral norm are float too, but they act on integer sums.
"""

from collections.abc import Iterator, Mapping
from typing import assert_never

import torch
from torch import Tensor, nn

from asc.config.front_end import FrontEnd
from asc.models.integer_layers import IntegerLayer, IntegerQuantiser, IntegerSubSpectral, Steps8, in_floats
from asc.models.layered import StoredForm, parameterless
from asc.models.layers import BandNorm, Pooling, StoredNorm, channels_last, gate_module, sum_of
from asc.topology import layers as kinds
from asc.topology.topology import Topology


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
        statistics: Tensor = self._run(log_mel, self.topology.layers[:-1])
        return statistics

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

    def _output(self, layer: kinds.Layer, read: tuple[Steps8, ...], pooling: Pooling) -> Steps8:
        """The output steps of a layer, given the steps that it reads."""
        steps: Steps8
        match layer:
            case kinds.BandNorm():
                steps = self.module_of(layer)(*read)  # still log-mel, not steps
            case kinds.Input():
                steps = channels_last(self.grid_of(layer.name)(*read))
            case kinds.ConvNorm() | kinds.SubSpectralConv() | kinds.Projection() | kinds.Dense():
                steps = self.module_of(layer)(*read, self.grid_of(layer.reads[0]).scale)
            case kinds.SqueezeExcite() | kinds.ResponseNorm() | kinds.ResidualNorm():
                y = self.module_of(layer)(self._real(layer.reads[0], *read), pooling)
                steps = self.grid_of(layer.name).of_map(y)
            case kinds.Add():
                terms = tuple(self._real(name, values) for name, values in zip(layer.reads, read, strict=True))
                steps = self.grid_of(layer.name).of_map(sum_of(terms, relu=layer.relu))
            case kinds.FrequencyMean():
                mean = self.module_of(layer)(in_floats(*read))  # of integers, whose sum is exact
                steps = self.grid_of(layer.name)(self._real(layer.reads[0], mean))
            case kinds.AveragePool() | kinds.MaxPool():
                steps = self.grid_of(layer.name).settle(self.module_of(layer)(in_floats(*read)))
            case kinds.Swish() | kinds.StatisticsPool() | kinds.MeanPool():
                steps = self.grid_of(layer.name)(self.module_of(layer)(self._real(layer.reads[0], *read)))
            case _:
                assert_never(layer)
        return steps

    def _real(self, name: str, steps: Steps8) -> Tensor:
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
