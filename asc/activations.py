"""Activation memory: the tensors that are live at each operation of the stored form, from the config alone."""

from collections.abc import Iterator
from dataclasses import dataclass

from asc.config import Architecture, Block, Compression, FrontEnd
from asc.errors import InputError

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Step:
    """One operation in execution order and the bytes of all tensors that are live while it runs."""

    name: str
    live_bytes: int


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """Channels, frequency bins and frames of a feature map."""

    channels: int
    bins: int
    frames: int

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
    width = 1 if compression.storage == "int8" else FLOAT_BYTES
    return tuple(_steps(architecture, features(front_end, seconds), width))


def _steps(architecture: Architecture, here: FeatureMap, width: int) -> Iterator[Step]:
    """`width` is the bytes of an element outside of float parts; at 4 nothing is quantised or dequantised."""
    quantised = width < FLOAT_BYTES
    if quantised:
        yield Step("input", here.elements * (FLOAT_BYTES + width))
    stem = FeatureMap(architecture.widths[0], here.bins, here.frames)
    yield Step("stem", (here.elements + stem.elements) * width)
    here = stem
    for index, block in enumerate(architecture.blocks()):
        there = here.after(block)
        yield from _block_steps(f"blocks.{index}", block, here.elements * width, there.elements, width)
        here = there
    statistics = here.channels * here.bins * 2
    if quantised:
        yield Step("pool.dequantise", here.elements * (width + FLOAT_BYTES))
    yield Step("pool", (here.elements + statistics) * FLOAT_BYTES)
    if quantised:
        yield Step("pool_output", statistics * (FLOAT_BYTES + width))
    yield Step("dense", (statistics + architecture.classes) * width)
    if quantised:
        yield Step("logits", architecture.classes * (width + FLOAT_BYTES))


def _block_steps(name: str, block: Block, input_bytes: int, outputs: int, width: int) -> Iterator[Step]:
    kept = input_bytes if block.has_skip else 0
    narrow, wide = outputs * width, outputs * FLOAT_BYTES
    gate, bottleneck = block.channels * FLOAT_BYTES, block.se_bottleneck * FLOAT_BYTES
    yield Step(f"{name}.conv1", input_bytes + narrow)
    yield Step(f"{name}.conv2", kept + narrow + narrow)
    if width < FLOAT_BYTES:
        yield Step(f"{name}.se.dequantise", kept + narrow + wide)
    yield Step(f"{name}.se.pool", kept + wide + gate)
    yield Step(f"{name}.se.reduce", kept + wide + gate + bottleneck)
    yield Step(f"{name}.se.relu", kept + wide + bottleneck + bottleneck)
    yield Step(f"{name}.se.norm", kept + wide + bottleneck + bottleneck)
    yield Step(f"{name}.se.expand", kept + wide + bottleneck + gate)
    yield Step(f"{name}.se.sigmoid", kept + wide + gate + gate)
    yield Step(f"{name}.se.scale", kept + wide + gate + wide)
    if width < FLOAT_BYTES:
        yield Step(f"{name}.se_output", kept + wide + narrow)
    if block.has_skip:
        yield Step(f"{name}.skip", input_bytes + narrow + narrow)
        yield Step(f"{name}.add", 3 * narrow)
