"""A network as an ordered tuple of layers, and what follows from it: shapes, strides, reach, non-negative outputs.

A reader goes through a network with `Topology.walk`: layer by layer, with the values that each layer reads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar, assert_never

from asc.topology.layers import (
    LOG_MEL,
    Add,
    AveragePool,
    BandNorm,
    ConvNorm,
    Dense,
    FrequencyMean,
    Gate,
    Input,
    Layer,
    MaxPool,
    MeanPool,
    Pool,
    Projection,
    ResidualNorm,
    ResponseNorm,
    SqueezeExcite,
    StatisticsPool,
    SubSpectralConv,
    Swish,
)

Value = TypeVar("Value")
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Layers in execution order. The last one is a `Dense`, whose outputs are the logits.

    `bins` is the number of log-mel bins.
    """

    layers: tuple[Layer, ...]
    bins: int
    by_name: Mapping[str, Layer] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check that names are unique and that each layer reads only earlier layers."""
        known = {LOG_MEL}
        for layer in self.layers:
            assert layer.name not in known, f"two layers are named {layer.name}"
            assert known.issuperset(layer.reads), f"{layer.name} reads layers that do not run before it: {layer.reads}"
            known.add(layer.name)
        object.__setattr__(self, "by_name", {layer.name: layer for layer in self.layers})

    def walk(
        self,
        value_of: Callable[[Layer, tuple[Value, ...]], Value],
        log_mel: Value,
        layers: Sequence[Layer] | None = None,
    ) -> Value:
        """Call `value_of(layer, values that it reads)` for each layer in order; returns the last layer's value.

        A value is dropped as soon as no later layer reads it. Give `layers`, the first few, to stop early.
        """
        values = {LOG_MEL: log_mel}
        for layer in self.layers if layers is None else layers:
            found = value_of(layer, tuple(values[name] for name in layer.reads))
            for name in self._dropped[layer.name]:
                del values[name]
            values[layer.name] = found
        return found

    @cached_property
    def _dropped(self) -> dict[str, list[str]]:
        """For each layer, the values that no later layer reads."""
        last = {name: layer.name for layer in self.layers for name in layer.reads}
        return {
            layer.name: [name for name in dict.fromkeys(layer.reads) if last[name] == layer.name]
            for layer in self.layers
        }

    @property
    def classifier(self) -> Dense:
        """The last layer, whose outputs are the logits."""
        last = self.layers[-1]
        assert isinstance(last, Dense)
        return last

    @cached_property
    def pool(self) -> Pool:
        """The layer that pools over time: its statistics are what the classifier reads."""
        (found,) = (layer for layer in self.layers if isinstance(layer, Pool))
        return found

    @cached_property
    def before_pool(self) -> tuple[Layer, ...]:
        """The layers before `pool`; the last one's output is the map that is pooled."""
        return self.layers[: self.layers.index(self.pool)]

    @property
    def last_channels(self) -> int:
        """Number of channels of the map that is pooled."""
        return self.shapes(1)[self.pool.reads[0]][0]

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """The layers that take means over the map (of values or of squares) inside the network, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Gate))

    def shapes(self, frames: int) -> dict[str, Shape]:
        """The output shape of each layer for `frames` frames of log-mel, and that of the log-mel itself."""
        shapes: dict[str, Shape] = {LOG_MEL: (1, self.bins, frames)}
        for layer in self.layers:
            shapes[layer.name] = shape_after(layer, shapes[layer.reads[0]])
        return shapes

    @cached_property
    def time_strides(self) -> dict[str, int]:
        """The total stride in time of each layer's output, in log-mel frames; for vectors, that of the last map."""
        apart = {LOG_MEL: 1}
        for layer in self.layers:
            apart[layer.name] = apart[layer.reads[0]] * _window(layer)[1]
        return apart

    @cached_property
    def reach_frames(self) -> int:
        """How many log-mel frames to either side a frame of the last map depends on, not counting gates."""
        reach = {LOG_MEL: 0}
        for layer in self.before_pool:
            source = layer.reads[0]
            half = _window(layer)[0] // 2 * self.time_strides[source]
            reach[layer.name] = max(reach[name] for name in layer.reads) + half
        return reach[self.before_pool[-1].name]

    @cached_property
    def nonnegative(self) -> frozenset[str]:
        """The layers whose outputs cannot be negative, so that their grids start at zero."""
        found: set[str] = set()
        for layer in self.layers:
            match layer:
                case ResponseNorm():
                    found.add(layer.name)
                case ConvNorm():
                    if layer.relu:
                        found.add(layer.name)
                case Add():
                    if layer.relu or found.issuperset(layer.reads):
                        found.add(layer.name)
                case SqueezeExcite() | Swish() | FrequencyMean() | AveragePool() | MaxPool() | MeanPool():
                    if found.issuperset(layer.reads):
                        found.add(layer.name)
                case (
                    BandNorm()
                    | Input()
                    | SubSpectralConv()
                    | Projection()
                    | ResidualNorm()
                    | StatisticsPool()
                    | Dense()
                ):
                    pass
                case _:
                    assert_never(layer)
        return frozenset(found)


def shape_after(layer: Layer, shape: Shape) -> Shape:
    """The shape of a layer's output, given the shape of what it reads first."""
    match layer:
        case BandNorm() | Input() | SqueezeExcite() | ResponseNorm() | ResidualNorm() | Add() | Swish():
            return shape
        case ConvNorm() | Projection():
            _, bins, frames = shape
            if isinstance(layer, ConvNorm) and not layer.pads_bins:
                bins -= layer.kernel[0] - 1
            return layer.outputs, -(-bins // layer.stride[0]), -(-frames // layer.stride[1])
        case FrequencyMean():
            return shape[0], 1, shape[2]
        case SubSpectralConv() | AveragePool() | MaxPool():
            channels, bins, frames = shape
            return channels, -(-bins // layer.stride[0]), -(-frames // layer.stride[1])
        case MeanPool():
            return (shape[0],)
        case StatisticsPool():
            channels, bins, _ = shape
            return (2 * channels * bins,)
        case Dense():
            return (layer.outputs,)
        case _:
            assert_never(layer)


def _window(layer: Layer) -> tuple[int, int]:
    """Size of the window (with dilation) and stride in time, in frames of the layer's input."""
    match layer:
        case ConvNorm():
            return (layer.kernel[1] - 1) * layer.dilation[1] + 1, layer.stride[1]
        case SubSpectralConv():
            return layer.kernel[1], layer.stride[1]
        case MaxPool():
            return 2 * layer.stride[1] - 1, layer.stride[1]  # it begins at the frame itself
        case Projection():
            return 1, layer.stride[1]
        case AveragePool():
            return 3, layer.stride[1]
        case (
            BandNorm() | Input() | SqueezeExcite() | ResponseNorm() | ResidualNorm() | Add() | Swish() | FrequencyMean()
        ):
            return 1, 1
        case StatisticsPool() | MeanPool() | Dense():
            return 1, 1
        case _:
            assert_never(layer)
