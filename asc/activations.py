"""Activation memory: the tensors that are live at each operation of the stored form, from the config alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from asc.config import Architecture, Block, Compression, FrontEnd
from asc.errors import InputError

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Tensor:
    """What an operation writes, named like it, of one clip; live from step number `first` to `last`, both included.

    Shapes are (channels, bins, frames) or (values,). The input, `log_mel`, is there before step 0.
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
    """One operation in execution order, and all tensors that are live while it runs; its own output is the last."""

    name: str
    live: tuple[Tensor, ...]

    @property
    def live_bytes(self) -> int:
        """Bytes of all tensors that are live while it runs."""
        return sum(tensor.size_bytes for tensor in self.live)


class _Operation(NamedTuple):
    name: str
    shape: tuple[int, ...]
    bytes_each: int
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """Channels, frequency bins and frames of a feature map."""

    channels: int
    bins: int
    frames: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, bins, frames)."""
        return self.channels, self.bins, self.frames

    @property
    def elements(self) -> int:
        """Values of the map."""
        return self.channels * self.bins * self.frames

    def after(self, block: Block) -> "FeatureMap":
        """The map behind a block: padding is half the kernel, so a stride rounds up."""
        return FeatureMap(block.channels, -(-self.bins // block.frequency_stride), -(-self.frames // block.time_stride))


def features(front_end: FrontEnd, seconds: float) -> FeatureMap:
    """The log-mel map of this much audio.

    Raises:
        InputError: `seconds` holds no frame.
    """
    frames = front_end.frames(seconds)
    if frames < 1:
        raise InputError(f"{seconds} s of audio hold no frame: give at least {front_end.hop_s} s (front_end.hop_s)")
    return FeatureMap(1, front_end.mel_bands, frames)


def activation_steps(
    architecture: Architecture, front_end: FrontEnd, compression: Compression, *, seconds: float = 10.0
) -> tuple[Step, ...]:
    """What is live at each operation of the stored form, for one clip, in execution order.

    The convention. A tensor is live from the operation that writes it to the last one that reads it. It has the width
    at which it is stored: 1 byte an element in quantised parts, 4 in float parts. Float are the log-mel input, all
    inside SE (dequantised input, pooled, bottleneck and gate vectors, scaled output), the statistics pooling
    (dequantised input, output) and the logits; with 16-bit storage everything, for it is computed in 32 bits. Nothing
    is done in place, so an operation holds its inputs and its output together. Convolution, batch norm, ReLU and
    requantisation are one operation, and so is the addition of the skip; accumulators and other scratch inside an
    operation are not counted. A block's input stays live until its skip, which runs behind the SE, has read it.
    Weights are not counted.

    Raises:
        InputError: `seconds` holds no frame.
    """
    operations = _all_operations(architecture, front_end, compression, seconds)
    last = _last_reads(operations)
    live: list[Tensor] = []
    steps = []
    for number, (name, shape, bytes_each, _) in enumerate(operations):
        live.append(Tensor(name, shape, bytes_each, max(number - 1, 0), last.get(name, len(operations) - 1) - 1))
        if number:
            steps.append(Step(name, tuple(live)))
        live = [tensor for tensor in live if tensor.last >= number]
    return tuple(steps)


def peak_bytes(
    architecture: Architecture, front_end: FrontEnd, compression: Compression, *, seconds: float = 10.0
) -> int:
    """The most bytes that are live at a step of `activation_steps`, in a fraction of the time.

    Raises:
        InputError: `seconds` holds no frame.
    """
    operations = _all_operations(architecture, front_end, compression, seconds)
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


def _all_operations(
    architecture: Architecture, front_end: FrontEnd, compression: Compression, seconds: float
) -> tuple[_Operation, ...]:
    """The input, as if an operation wrote it, and then all operations."""
    log_mel = features(front_end, seconds)
    width = 1 if compression.storage == "int8" else FLOAT_BYTES
    return _Operation("log_mel", log_mel.shape, FLOAT_BYTES, ()), *_operations(architecture, log_mel, width)


def _last_reads(operations: tuple[_Operation, ...]) -> dict[str, int]:
    return {name: number for number, operation in enumerate(operations) for name in operation.reads}


def _operations(architecture: Architecture, here: FeatureMap, width: int) -> Iterator[_Operation]:
    """`width` is the bytes of an element outside of float parts; at 4 nothing is quantised or dequantised."""
    x, quantised = "log_mel", width < FLOAT_BYTES
    if quantised:
        yield _Operation("input", here.shape, width, (x,))
        x = "input"
    here = FeatureMap(architecture.widths[0], here.bins, here.frames)
    yield _Operation("stem", here.shape, width, (x,))
    x = "stem"
    for index, block in enumerate(architecture.blocks()):
        here = here.after(block)
        for operation in _block_operations(f"blocks.{index}", block, x, here.shape, width):
            yield operation
        x = operation.name
    if quantised:
        yield _Operation("pool.dequantise", here.shape, FLOAT_BYTES, (x,))
        x = "pool.dequantise"
    statistics = (2 * here.channels * here.bins,)
    yield _Operation("pool", statistics, FLOAT_BYTES, (x,))
    if quantised:
        yield _Operation("pool_output", statistics, width, ("pool",))
    yield _Operation("dense", (architecture.classes,), width, ("pool_output" if quantised else "pool",))
    if quantised:
        yield _Operation("logits", (architecture.classes,), FLOAT_BYTES, ("dense",))


def _block_operations(name: str, block: Block, x: str, shape: tuple[int, ...], width: int) -> Iterator[_Operation]:
    """The block behind the tensor `x`, whose maps have this shape; the last operation writes the block's output."""
    gate, bottleneck = (block.channels,), (block.se_bottleneck,)
    yield _Operation(f"{name}.conv1", shape, width, (x,))
    yield _Operation(f"{name}.conv2", shape, width, (f"{name}.conv1",))
    wide, narrow = f"{name}.conv2", f"{name}.se.scale"
    if width < FLOAT_BYTES:
        wide, narrow = f"{name}.se.dequantise", f"{name}.se_output"
        yield _Operation(wide, shape, FLOAT_BYTES, (f"{name}.conv2",))
    inner = wide
    for layer, size in (
        ("pool", gate),
        ("reduce", bottleneck),
        ("relu", bottleneck),
        ("norm", bottleneck),
        ("expand", gate),
        ("sigmoid", gate),
    ):
        yield _Operation(f"{name}.se.{layer}", size, FLOAT_BYTES, (inner,))
        inner = f"{name}.se.{layer}"
    yield _Operation(f"{name}.se.scale", shape, FLOAT_BYTES, (wide, inner))
    if width < FLOAT_BYTES:
        yield _Operation(narrow, shape, width, (f"{name}.se.scale",))
    if block.has_skip:
        yield _Operation(f"{name}.skip", shape, width, (x,))
        yield _Operation(f"{name}.add", shape, width, (narrow, f"{name}.skip"))
