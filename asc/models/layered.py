"""Base classes of all forms of a network: modules under the names of the layers of their topology."""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from asc.config.front_end import FrontEnd
from asc.errors import InputError
from asc.models import layers as modules
from asc.models.layers import Pooling, mean_of_map, mean_square_of_map, moments_of_bins, pooled_statistics
from asc.topology.layers import (
    AveragePool,
    BandNorm,
    ConvNorm,
    FrequencyMean,
    Gate,
    Layer,
    MaxPool,
    MeanPool,
    Pool,
    ResidualNorm,
    ResponseNorm,
    SqueezeExcite,
    StatisticsPool,
    Swish,
)
from asc.topology.topology import Topology


class Layered(nn.Module):
    """A network whose submodules are the layers' modules and grids, named as in the topology."""

    def __init__(self, topology: Topology, front_end: FrontEnd) -> None:
        """Start with no modules; each subclass attaches its own."""
        super().__init__()
        self.topology = topology
        self.front_end = front_end
        self._found: dict[str, nn.Module] = {}

    def attach(self, name: str, module: nn.Module) -> None:
        """Add a submodule under a dotted name, and containers for the parts of the name."""
        *path, last = name.split(".")
        inner: nn.Module = self
        for part in path:
            if part not in dict(inner.named_children()):
                inner.add_module(part, nn.Module())
            inner = inner.get_submodule(part)
        inner.add_module(last, module)

    def module_of(self, layer: Layer) -> Any:
        """The module of a layer."""
        return self._submodule(layer.name)

    def grid_of(self, name: str) -> Any:
        """The output grid of the layer with this name."""
        layer = self.topology.by_name[name]
        assert not isinstance(layer, BandNorm), f"the output of {name} is on no grid"
        return self._submodule(layer.grid)

    def _submodule(self, name: str) -> nn.Module:
        """The submodule with this dotted name; a search by name takes longer than many a small layer."""
        if name not in self._found:
            self._found[name] = self.get_submodule(name)
        return self._found[name]

    @property
    def classifier(self) -> Any:
        """The module of the last layer."""
        return self.module_of(self.topology.classifier)


class StoredForm(Layered):
    """A network as stored and shipped; it can also run on parts of a clip and return the map that is pooled."""

    def _output(self, layer: Layer, read: tuple[Any, ...], pooling: Pooling) -> Any:
        """The output of a layer, given those that it reads; `pooling` gives a gate its means over the map."""
        raise NotImplementedError

    def _run(self, log_mel: Tensor, layers: Sequence[Layer], poolings: Mapping[str, Pooling] | None = None) -> Any:
        """The output of the last of `layers`, the network's first ones; `poolings` as for `last_map`."""
        check_log_mel(log_mel, self.front_end)
        given = poolings or {}
        return self.topology.walk(
            lambda layer, read: self._output(layer, read, given.get(layer.name, pooling_of(layer))), log_mel, layers
        )


def conv_of(layer: ConvNorm, *, bias: bool) -> nn.Conv2d:
    """The convolution of a layer, untrained."""
    return nn.Conv2d(
        layer.inputs,
        layer.outputs,
        layer.kernel,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
        bias=bias,
    )


Parameterless = AveragePool | MaxPool | Swish | FrequencyMean | MeanPool | StatisticsPool


def parameterless(layer: Parameterless) -> nn.Module:
    """The module of a layer that has no numbers of its own, the same in all forms."""
    match layer:
        case AveragePool():
            return modules.AveragePool(layer.stride)
        case MaxPool():
            return modules.MaxPool(layer.stride)
        case Swish():
            return nn.SiLU()
        case FrequencyMean():
            return modules.FrequencyMean()
        case MeanPool():
            return modules.MeanPool()
        case StatisticsPool():
            return modules.StatisticsPool()
        case _:
            assert_never(layer)


def pooling_of(layer: Layer) -> Pooling:
    """What a gate takes of its map.

    That is the mean of each channel, for a response norm the mean square, for a residual norm mean and variance by bin.
    """
    match layer:
        case ResponseNorm():
            return mean_square_of_map
        case ResidualNorm():
            return moments_of_bins
        case _:  # layers other than gates have no use for it
            return mean_of_map


def gate_columns(gate: Gate, x: Tensor) -> Tensor:
    """Map (channels, bins, frames) to (..., frames): what must be averaged over time for `gate_statistics`."""
    match gate:
        case SqueezeExcite():
            return x.mean(dim=1)
        case ResponseNorm():
            return x.square().mean(dim=1)
        case ResidualNorm():
            exact = x.double()
            return torch.stack([exact.mean(dim=0), exact.square().mean(dim=0)])
        case _:
            assert_never(gate)


def gate_statistics(gate: Gate, mean: Tensor) -> Tensor:
    """What `pooling_of` gives for one clip (1, ...), float32, from the mean over time of `gate_columns`, float64.

    A stream adds to sums and takes off again, so a square or a variance may come out slightly below zero.
    """
    match gate:
        case SqueezeExcite():
            return mean.float()[None]
        case ResponseNorm():
            return mean.float()[None].clamp_min(0)
        case ResidualNorm():
            means, mean_squares = mean
            return torch.stack([means, (mean_squares - means.square()).clamp_min(0)]).float()[None]
        case _:
            assert_never(gate)


def pool_columns(pool: Pool, x: Tensor) -> Tensor:
    """What must be averaged over time to pool a map, (channels, bins, frames) to (..., frames)."""
    match pool:
        case MeanPool():
            return x.mean(dim=1)
        case StatisticsPool():
            return torch.stack([x, x.square()])
        case _:
            assert_never(pool)


def pooled(pool: Pool, mean: Tensor) -> Tensor:
    """The pooled vector (1, values), given the mean over time of `pool_columns`."""
    match pool:
        case MeanPool():
            return mean[None]
        case StatisticsPool():
            means, mean_squares = mean
            variance = (mean_squares - means.square()).clamp_(min=0)
            return pooled_statistics(means[None], variance[None])
        case _:
            assert_never(pool)


def check_log_mel(log_mel: Tensor, front_end: FrontEnd) -> None:
    """Check that features have the shape (batch, 1, mel_bands, frames).

    Raises:
        InputError: another number of dimensions, channels or bands.
    """
    if log_mel.dim() != 4 or log_mel.shape[1] != 1 or log_mel.shape[2] != front_end.mel_bands or not log_mel.shape[3]:
        raise InputError(
            f"the network takes log-mel of shape (batch, 1, {front_end.mel_bands}, frames), got "
            f"{tuple(log_mel.shape)}: compute it with the front end of the network's config"
        )
