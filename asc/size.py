"""The size law: every stored item of a network, its MACs and its peak activation memory, from the config alone.

No weights are needed: the counts are closed forms over `Architecture.blocks()`; a test holds them equal to built ones.
Reference: IDLab report, DCASE 2021 task 1a, sections 2.3 and 3.1 (113,976 parameters, 127.64 KB).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from asc.config import Architecture, Block, FrontEnd
from asc.errors import InputError

StoredAs = Literal["asc", "report"]
ItemKind = Literal["weight", "bias", "weight_scale", "se", "se_batch_norm", "activation_scale", "activation_zero_point"]
KERNEL = 3
FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Item:
    """One stored tensor; `name` is its key in the state_dict of the integer form."""

    name: str
    kind: ItemKind
    count: int
    bytes_each: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return self.count * self.bytes_each


@dataclass(frozen=True, slots=True)
class Step:
    """One operation in execution order and the bytes of all tensors that are live while it runs."""

    name: str
    live_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a network costs: stored parameters and bytes, multiply-accumulates, activation memory."""

    parameters: int
    size_bytes: int
    macs_per_second: int
    peak_activation_bytes: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class _Map:
    """Channels, frequency bins and frames of a feature map."""

    channels: int
    bins: int
    frames: int

    @property
    def elements(self) -> int:
        return self.channels * self.bins * self.frames

    def after(self, block: Block) -> "_Map":
        """The map behind a block: padding is half the kernel, so a stride rounds up."""
        return _Map(block.channels, -(-self.bins // block.frequency_stride), -(-self.frames // block.time_stride))


def stored_items(architecture: Architecture, front_end: FrontEnd, stored_as: StoredAs = "asc") -> tuple[Item, ...]:
    """Every tensor that the integer form stores, in the order of its state_dict.

    `asc` stores weight scales as float32 and activation zero points as int32; `report` as float64 and int64, as
    torch's quantised modules do (report, section 3.1).
    """
    wide = stored_as == "report"
    scale_bytes, zero_point_bytes = (8, 8) if wide else (4, 4)

    def quantiser(name: str) -> Iterator[Item]:
        yield Item(f"{name}.scale", "activation_scale", 1, FLOAT_BYTES)
        yield Item(f"{name}.zero_point", "activation_zero_point", 1, zero_point_bytes)

    def layer(name: str, weights: int, outputs: int) -> Iterator[Item]:
        yield Item(f"{name}.weight", "weight", weights, 1)
        yield Item(f"{name}.bias", "bias", outputs, 4)
        yield Item(f"{name}.weight_scale", "weight_scale", outputs, scale_bytes)
        yield from quantiser(f"{name}.output")

    def block_items(name: str, block: Block) -> Iterator[Item]:
        width = block.channels
        yield from layer(f"{name}.conv1", KERNEL**2 * block.in_channels * width, width)
        yield from layer(f"{name}.conv2", KERNEL**2 * width // block.cardinality * width, width)
        yield from _se_items(f"{name}.se", width, block.se_bottleneck)
        yield from quantiser(f"{name}.se_output")
        if block.has_skip:
            yield from layer(f"{name}.skip", block.in_channels * width, width)
            yield from quantiser(f"{name}.add")

    def network() -> Iterator[Item]:
        blocks = architecture.blocks()
        yield from quantiser("input")
        yield from layer("stem", KERNEL**2 * architecture.widths[0], architecture.widths[0])
        for index, block in enumerate(blocks):
            yield from block_items(f"blocks.{index}", block)
        yield from quantiser("pool_output")
        inputs = dense_inputs(architecture, front_end)
        yield from layer("dense", inputs * architecture.classes, architecture.classes)

    return tuple(network())


def dense_inputs(architecture: Architecture, front_end: FrontEnd) -> int:
    """Inputs of the dense layer: mean and standard deviation of every frequency bin of every last channel."""
    bins = front_end.mel_bands
    for stride in architecture.frequency_strides:
        bins = -(-bins // stride)
    return bins * architecture.widths[-1] * 2


def cost(
    architecture: Architecture, front_end: FrontEnd, *, stored_as: StoredAs = "asc", seconds: float = 10.0
) -> Cost:
    """Parameters, bytes, MACs on one second of audio, and peak activation bytes on `seconds` of audio.

    Raises:
        InputError: `seconds` holds no frame.
    """
    items = stored_items(architecture, front_end, stored_as)
    return Cost(
        parameters=sum(item.count for item in items),
        size_bytes=sum(item.size_bytes for item in items),
        macs_per_second=macs(architecture, front_end, seconds=1.0),
        peak_activation_bytes=max(
            step.live_bytes for step in activation_steps(architecture, front_end, seconds=seconds)
        ),
        items=items,
    )


def macs(architecture: Architecture, front_end: FrontEnd, *, seconds: float = 1.0) -> int:
    """Multiply-accumulates of all convolutions and linear layers (SE included) on this much audio.

    Additions of biases, batch norm, pooling and the scaling by SE are not counted.
    """
    here = _features(front_end, seconds)
    total = KERNEL**2 * architecture.widths[0] * here.elements
    for block in architecture.blocks():
        there = here.after(block)
        inputs = KERNEL**2 * (block.in_channels + block.channels // block.cardinality)
        inputs += block.in_channels if block.has_skip else 0
        total += inputs * there.elements + 2 * block.channels * block.se_bottleneck
        here = there
    return total + dense_inputs(architecture, front_end) * architecture.classes


def activation_steps(architecture: Architecture, front_end: FrontEnd, *, seconds: float = 10.0) -> tuple[Step, ...]:
    """What is live at each operation of the integer form, for one clip, in execution order.

    The convention. A tensor is live from the operation that writes it to the last one that reads it. It has the width
    at which it is stored: 1 byte an element in quantised parts, 4 in float parts. Float are the log-mel input, all
    inside SE (dequantised input, pooled, bottleneck and gate vectors, scaled output), the statistics pooling
    (dequantised input, output) and the logits. Nothing is done in place, so an operation holds its inputs and its
    output together. Convolution, batch norm, ReLU and requantisation are one operation, and so is the addition of the
    skip; accumulators and other scratch inside an operation are not counted. A block's input stays live until its
    skip, which runs behind the SE, has read it. Weights are not counted.

    Raises:
        InputError: `seconds` holds no frame.
    """
    return tuple(_steps(architecture, front_end, seconds))


def _steps(architecture: Architecture, front_end: FrontEnd, seconds: float) -> Iterator[Step]:
    here = _features(front_end, seconds)
    yield Step("input", here.elements * (FLOAT_BYTES + 1))
    stem = _Map(architecture.widths[0], here.bins, here.frames)
    yield Step("stem", here.elements + stem.elements)
    here = stem
    for index, block in enumerate(architecture.blocks()):
        there = here.after(block)
        yield from _block_steps(f"blocks.{index}", block, here.elements, there.elements)
        here = there
    statistics = here.channels * here.bins * 2
    yield Step("pool.dequantise", here.elements * (1 + FLOAT_BYTES))
    yield Step("pool", (here.elements + statistics) * FLOAT_BYTES)
    yield Step("pool_output", statistics * (FLOAT_BYTES + 1))
    yield Step("dense", statistics + architecture.classes)
    yield Step("logits", architecture.classes * (1 + FLOAT_BYTES))


def _block_steps(name: str, block: Block, inputs: int, outputs: int) -> Iterator[Step]:
    kept = inputs if block.has_skip else 0
    wide = outputs * FLOAT_BYTES
    gate, bottleneck = block.channels * FLOAT_BYTES, block.se_bottleneck * FLOAT_BYTES
    yield Step(f"{name}.conv1", inputs + outputs)
    yield Step(f"{name}.conv2", kept + outputs + outputs)
    yield Step(f"{name}.se.dequantise", kept + outputs + wide)
    yield Step(f"{name}.se.pool", kept + wide + gate)
    yield Step(f"{name}.se.reduce", kept + wide + gate + bottleneck)
    yield Step(f"{name}.se.relu", kept + wide + bottleneck + bottleneck)
    yield Step(f"{name}.se.norm", kept + wide + bottleneck + bottleneck)
    yield Step(f"{name}.se.expand", kept + wide + bottleneck + gate)
    yield Step(f"{name}.se.sigmoid", kept + wide + gate + gate)
    yield Step(f"{name}.se.scale", kept + wide + gate + wide)
    yield Step(f"{name}.se_output", kept + wide + outputs)
    if block.has_skip:
        yield Step(f"{name}.skip", inputs + outputs + outputs)
        yield Step(f"{name}.add", 3 * outputs)


def _se_items(name: str, width: int, bottleneck: int) -> Iterator[Item]:
    yield Item(f"{name}.reduce.weight", "se", width * bottleneck, FLOAT_BYTES)
    yield Item(f"{name}.reduce.bias", "se", bottleneck, FLOAT_BYTES)
    for value in ("weight", "bias", "running_mean", "running_var"):
        yield Item(f"{name}.norm.{value}", "se_batch_norm", bottleneck, FLOAT_BYTES)
    yield Item(f"{name}.expand.weight", "se", width * bottleneck, FLOAT_BYTES)
    yield Item(f"{name}.expand.bias", "se", width, FLOAT_BYTES)


def _features(front_end: FrontEnd, seconds: float) -> _Map:
    frames = front_end.frames(seconds)
    if frames < 1:
        raise InputError(f"{seconds} s of audio hold no frame: give at least {front_end.hop_s} s (front_end.hop_s)")
    return _Map(1, front_end.mel_bands, frames)
