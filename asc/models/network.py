"""The network in training, built from its topology.

A network that will be stored in 8 bits trains fake-quantised, with SE, response norms, residual norms and pooling
in float (report, section 4). One that will be stored in 16 bits trains entirely in float.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, assert_never

import torch
from torch import Tensor, nn

from asc.config.experiment import Storage
from asc.config.front_end import FrontEnd
from asc.models.activation_grid import ActivationQuantiser
from asc.models.batch_norm import BatchNorm1d, BatchNorm2d
from asc.models.fake_quantised import (
    ConvBn,
    QuantConv1x1,
    QuantLinear,
    QuantMapLinear,
    SubSpectral,
)
from asc.models.float_layers import (
    FloatConv1x1,
    FloatConvBn,
    FloatLinear,
    FloatMapLinear,
    FloatSubSpectral,
    NoGrid,
)
from asc.models.layered import Layered, check_log_mel, conv_of, parameterless
from asc.models.layers import BandNorm, channels_last, gate_module, sum_of
from asc.models.workers import Workers
from asc.topology import layers as kinds
from asc.topology.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The module classes that a network is built of; both sets take the same arguments."""

    conv_bn: type[ConvBn] | type[FloatConvBn]
    sub_spectral: type[SubSpectral] | type[FloatSubSpectral]
    conv1x1: type[QuantConv1x1] | type[FloatConv1x1]
    linear: type[QuantLinear] | type[FloatLinear]
    map_linear: type[QuantMapLinear] | type[FloatMapLinear]
    grid: type[ActivationQuantiser] | type[NoGrid]


QUANTISED = Layers(
    conv_bn=ConvBn,
    sub_spectral=SubSpectral,
    conv1x1=QuantConv1x1,
    linear=QuantLinear,
    map_linear=QuantMapLinear,
    grid=ActivationQuantiser,
)
FLOAT = Layers(
    conv_bn=FloatConvBn,
    sub_spectral=FloatSubSpectral,
    conv1x1=FloatConv1x1,
    linear=FloatLinear,
    map_linear=FloatMapLinear,
    grid=NoGrid,
)


class Network(Layered):
    """Log-mel in, logits out. Batch norm and observers can be frozen; the state_dict records whether they are."""

    batch_norm_frozen: Tensor
    observers_frozen: Tensor

    def __init__(self, topology: Topology, front_end: FrontEnd, storage: Storage = "int8") -> None:
        """Build an untrained network; its weights come from torch's global generator (see `asc.models.build`)."""
        super().__init__(topology, front_end)
        self.storage = storage
        self.register_buffer("batch_norm_frozen", torch.tensor(False))
        self.register_buffer("observers_frozen", torch.tensor(False))
        modules = QUANTISED if storage == "int8" else FLOAT
        for layer in self.topology.layers:
            for name, module in _built(layer, modules, nonnegative=layer.name in self.topology.nonnegative):
                self.attach(name, module)
        self.register_load_state_dict_post_hook(_restore_switches)  # type: ignore[no-untyped-call]

    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel (batch, 1, mel_bands, frames), float32, to logits (batch, classes).

        Raises:
            InputError: `log_mel` has another shape.
            RuntimeError: the network is in eval mode, and no batch was ever seen in training mode.
        """
        check_log_mel(log_mel, self.front_end)
        return self.topology.walk(self._output, log_mel)

    def _output(self, layer: kinds.Layer, read: tuple[Tensor, ...]) -> Tensor:
        """The output of a layer on its grid, given the tensors that it reads."""
        y: Tensor
        match layer:
            case kinds.Input():
                y = channels_last(self.grid_of(layer.name)(*read))
            case kinds.Dense(over_map=True):
                y = self.module_of(layer)(*read, self.grid_of(layer.reads[0]))
            case kinds.ConvNorm() | kinds.SubSpectralConv() | kinds.Projection() | kinds.Dense():
                y = self.module_of(layer)(*read, self.grid_of(layer.reads[0]).scale)
            case kinds.MeanPool() if self.topology.classifier.over_map:
                y = read[0]  # the classifier is trained over the map
            case kinds.BandNorm() | kinds.MaxPool():
                y = self.module_of(layer)(*read)  # on no grid, or on that of its input
            case kinds.AveragePool():
                y = self.grid_of(layer.name).on_grid(self.module_of(layer)(*read))
            case kinds.SqueezeExcite() | kinds.ResponseNorm() | kinds.ResidualNorm() | kinds.Swish():
                y = self.module_of(layer)(*read)
                y = self.grid_of(layer.name)(y, in_place=isinstance(layer, kinds.SqueezeExcite))
            case kinds.FrequencyMean() | kinds.StatisticsPool() | kinds.MeanPool():
                y = self.grid_of(layer.name)(self.module_of(layer)(*read))
            case kinds.Add():  # the backward pass of ReLU needs its output
                y = self.grid_of(layer.name)(sum_of(read, relu=layer.relu), in_place=not layer.relu)
            case _:
                assert_never(layer)
        return y

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; a frozen batch norm stays frozen."""
        super().train(mode)
        self._set_switches()
        return self

    def freeze_batch_norm(self) -> None:
        """Freeze the statistics of all batch norms; training then folds the batch norms into the convolutions."""
        self.batch_norm_frozen.fill_(True)
        self._set_switches()

    def freeze_observers(self) -> None:
        """Freeze the ranges of all activations.

        Raises:
            RuntimeError: no batch was seen yet, so there is no range.
        """
        for quantiser in self._quantisers():
            quantiser.require_range()
        self.observers_frozen.fill_(True)
        self._set_switches()

    def share(self, workers: Workers) -> None:
        """Compute batch norm statistics and activation ranges over the rows of all these workers."""
        for module in self.modules():
            if isinstance(module, BatchNorm1d | BatchNorm2d | ActivationQuantiser):
                module.workers = workers

    def _set_switches(self) -> None:
        norm_trains = self.training and not bool(self.batch_norm_frozen)
        observing = not bool(self.observers_frozen)
        for module in self.modules():
            if isinstance(module, BatchNorm1d | BatchNorm2d):
                module.training = norm_trains
            elif isinstance(module, ActivationQuantiser):
                module.observing = observing

    def _quantisers(self) -> list[ActivationQuantiser]:
        return [module for module in self.modules() if isinstance(module, ActivationQuantiser)]


def _built(layer: kinds.Layer, modules: Layers, *, nonnegative: bool) -> Iterator[tuple[str, nn.Module]]:
    """The modules of a layer by name; a convolution or linear layer holds its own grid."""
    match layer:
        case kinds.ConvNorm(name=name):
            yield name, modules.conv_bn(conv_of(layer, bias=False), relu=layer.relu, norm=layer.norm)
        case kinds.SubSpectralConv(name=name, channels=channels, bands=bands, kernel=kernel, stride=stride):
            yield name, modules.sub_spectral(channels, bands, kernel=kernel, stride=stride)
        case kinds.Projection(name=name, inputs=inputs, outputs=outputs, stride=stride):
            yield name, modules.conv1x1(inputs, outputs, stride=stride)
        case kinds.Dense(name=name, inputs=inputs, outputs=outputs):
            yield name, (modules.map_linear if layer.over_map else modules.linear)(inputs, outputs)
        case kinds.SqueezeExcite(name=name) | kinds.ResponseNorm(name=name) | kinds.ResidualNorm(name=name):
            yield name, gate_module(layer, BatchNorm1d)
            yield layer.grid, modules.grid(nonnegative=nonnegative)
        case kinds.BandNorm():
            yield layer.name, BandNorm(layer.bins)
        case kinds.AveragePool() | kinds.MaxPool():
            yield layer.name, parameterless(layer)
        case kinds.MeanPool() | kinds.StatisticsPool() | kinds.Swish() | kinds.FrequencyMean():
            yield layer.name, parameterless(layer)
            yield layer.grid, modules.grid(nonnegative=nonnegative)
        case kinds.Input() | kinds.Add():
            yield layer.grid, modules.grid(nonnegative=nonnegative)
        case _:
            assert_never(layer)


def _restore_switches(network: nn.Module, incompatible_keys: object) -> None:
    """Apply the switches of a state that was just loaded."""
    assert isinstance(network, Network)
    for quantiser in network._quantisers():
        quantiser.forget_check()
    network._set_switches()
