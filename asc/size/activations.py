"""Activation memory from the config alone: the tensors that are live at each operation of the stored network."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import NamedTuple, assert_never

from asc.config.experiment import Experiment, Storage
from asc.config.front_end import FrontEnd
from asc.errors import Infeasible
from asc.topology.describe import topology_of
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
from asc.topology.topology import Shape, Topology

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Tensor:
    """The output of an operation for one clip, named after it; live from step `first` to step `last`, inclusive.

    Shapes are (channels, bins, frames) or (values,). The input, `log_mel`, exists before step 0.
    """

    name: str
    shape: tuple[int, ...]
    bytes_each: int
    first: int
    last: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return prod(self.shape) * self.bytes_each


@dataclass(frozen=True, slots=True)
class Step:
    """One operation, and all tensors that are live while it runs; its own output is the last of them."""

    name: str
    live: tuple[Tensor, ...]

    @property
    def live_bytes(self) -> int:
        """Bytes of all live tensors."""
        return sum(tensor.size_bytes for tensor in self.live)


class _Operation(NamedTuple):
    name: str
    shape: Shape
    bytes_each: int
    reads: tuple[str, ...]


def features(front_end: FrontEnd, seconds: float) -> int:
    """Number of log-mel frames in `seconds` of audio.

    Raises:
        Infeasible: `seconds` is shorter than one frame.
    """
    frames = front_end.frames(seconds)
    if frames < 1:
        raise Infeasible(f"{seconds} s of audio are too short: give at least {front_end.hop_s} s (front_end.hop_s)")
    return frames


def activation_steps(experiment: Experiment, *, seconds: float = 10.0) -> tuple[Step, ...]:
    """The live tensors at each operation of the stored network, for one clip, in execution order.

    The convention:
    - A tensor is live from the operation that writes it to the last one that reads it. The input of a skip stays live
      until the skip, which runs after the SE, has read it.
    - An element takes 1 byte in quantised parts and 4 in float parts. The float parts are the log-mel input (also after
      a band norm), everything inside SE (dequantised input, pooled, bottleneck and gate vectors, scaled output),
      response norms and residual norms, the pooling before the last layer (dequantised input, output) and the logits.
      With 16-bit storage everything is float, since it computes in 32 bits.
    - Nothing is done in place, so an operation holds its inputs and its output at the same time.
    - Convolution, batch norm, ReLU and requantisation are one operation. The addition of the skip is one operation too.
    - Weights, accumulators and other scratch inside an operation are not counted.

    Raises:
        InputError: `seconds` is shorter than one frame.
    """
    frames = features(experiment.front_end, seconds)
    return steps_of(topology_of(experiment), experiment.compression.storage, frames)


def steps_of(topology: Topology, storage: Storage, frames: int) -> tuple[Step, ...]:
    """`activation_steps` for a topology and a number of log-mel frames."""
    operations = _all_operations(topology, storage, frames)
    last = _last_reads(operations)
    live: list[Tensor] = []
    steps = []
    for number, (name, shape, bytes_each, _) in enumerate(operations):
        live.append(Tensor(name, shape, bytes_each, max(number - 1, 0), last.get(name, len(operations) - 1) - 1))
        if number:
            steps.append(Step(name, tuple(live)))
        live = [tensor for tensor in live if tensor.last >= number]
    return tuple(steps)


def peak_bytes(experiment: Experiment, *, seconds: float = 10.0) -> int:
    """The maximum of `live_bytes` over `activation_steps`, computed much faster than by listing them.

    Raises:
        InputError: `seconds` is shorter than one frame.
    """
    frames = features(experiment.front_end, seconds)
    operations = _all_operations(topology_of(experiment), experiment.compression.storage, frames)
    last = _last_reads(operations)
    freed = [0] * len(operations)
    live = peak = 0
    for number, (name, shape, bytes_each, _) in enumerate(operations):
        size_bytes = prod(shape) * bytes_each
        live += size_bytes
        peak = max(peak, live)
        freed[last.get(name, number)] += size_bytes
        live -= freed[number]
    return peak


def _last_reads(operations: tuple[_Operation, ...]) -> dict[str, int]:
    return {name: number for number, operation in enumerate(operations) for name in operation.reads}


def _all_operations(topology: Topology, storage: Storage, frames: int) -> tuple[_Operation, ...]:
    """All operations in order, preceded by the log-mel input as if an operation wrote it."""
    shapes = topology.shapes(frames)
    quantised = storage == "int8"
    operations = [_Operation(LOG_MEL, shapes[LOG_MEL], FLOAT_BYTES, ())]
    written = {LOG_MEL: LOG_MEL}
    for layer in topology.layers:
        reads = tuple(written[name] for name in layer.reads)
        operations += _operations(layer, reads, shapes, quantised)
        written[layer.name] = operations[-1].name  # in float the first layer has no operation, so this is the log-mel
    if quantised:
        (logits,) = shapes[topology.classifier.name]
        operations.append(_Operation("logits", (logits,), FLOAT_BYTES, (operations[-1].name,)))
    return tuple(operations)


def _operations(
    layer: Layer, reads: tuple[str, ...], shapes: Mapping[str, Shape], quantised: bool
) -> Iterator[_Operation]:
    """The operations of a layer that reads these tensors; the last one writes the layer's output."""
    name, shape, width = layer.name, shapes[layer.name], 1 if quantised else FLOAT_BYTES
    match layer:
        case BandNorm():
            yield _Operation(name, shape, FLOAT_BYTES, reads)
        case (
            ConvNorm()
            | SubSpectralConv()
            | Projection()
            | Dense()
            | Add()
            | Swish()
            | FrequencyMean()
            | AveragePool()
            | MaxPool()
        ):
            yield _Operation(name, shape, width, reads)
        case Input():
            if quantised:
                yield _Operation(name, shape, width, reads)
        case SqueezeExcite() | ResponseNorm() | ResidualNorm() | StatisticsPool() | MeanPool():
            yield from _in_float(layer, reads, shapes, quantised)
        case _:
            assert_never(layer)


def _in_float(
    layer: Gate | Pool, reads: tuple[str, ...], shapes: Mapping[str, Shape], quantised: bool
) -> Iterator[_Operation]:
    """The operations of a layer that computes in float: a gate has statistics of the map first."""
    name, shape = layer.name, shapes[layer.name]
    if quantised:
        yield _Operation(f"{name}.dequantise", shapes[layer.reads[0]], FLOAT_BYTES, reads)
        reads = (f"{name}.dequantise",)
    last = name
    match layer:
        case SqueezeExcite():
            yield from _gate(layer, *reads)
            last, reads = f"{name}.scale", (*reads, f"{name}.sigmoid")
        case ResponseNorm():
            yield _Operation(f"{name}.norms", (layer.channels,), FLOAT_BYTES, reads)
            last, reads = f"{name}.scale", (*reads, f"{name}.norms")
        case ResidualNorm():
            yield _Operation(f"{name}.moments", (2, shape[1]), FLOAT_BYTES, reads)
            last, reads = f"{name}.scale", (*reads, f"{name}.moments")
        case StatisticsPool() | MeanPool():
            pass
        case _:
            assert_never(layer)
    yield _Operation(last, shape, FLOAT_BYTES, reads)
    if quantised:
        yield _Operation(layer.grid, shape, 1, (last,))


def _gate(layer: SqueezeExcite, x: str) -> Iterator[_Operation]:
    """The operations that compute a factor for each channel of the map `x`."""
    gate, bottleneck = (layer.channels,), (layer.bottleneck,)
    for operation, size in (
        ("pool", gate),
        ("reduce", bottleneck),
        ("relu", bottleneck),
        ("norm", bottleneck),
        ("expand", gate),
        ("sigmoid", gate),
    ):
        yield _Operation(f"{layer.name}.{operation}", size, FLOAT_BYTES, (x,))
        x = f"{layer.name}.{operation}"
