"""The size law: every stored item of a network, its MACs and its peak activation memory, from the config alone.

No weights are needed: the counts are closed forms over `Architecture.blocks()`; a test holds them equal to built ones.
Pruning sets an exact number of weights of each stored width to zero, so that non-zero bytes are known before training.
Reference: IDLab report, DCASE 2021 task 1a, sections 2.3, 3.1 and 3.3 (113,976 parameters, 127.64 KB; 62,390 pruned).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from asc.config import Architecture, Block, Compression, FrontEnd
from asc.errors import InputError
from asc.results import Stored

StoredAs = Literal["asc", "report"]
ItemKind = Literal[
    "weight",
    "bias",
    "weight_scale",
    "batch_norm",
    "se",
    "se_batch_norm",
    "activation_scale",
    "activation_zero_point",
]
KERNEL = 3
FLOAT_BYTES = 4
FLOAT16_BYTES = 2
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, slots=True)
class Item:
    """One stored tensor; `name` is its key in the state_dict of the stored form. Only a `prunable` one is pruned."""

    name: str
    kind: ItemKind
    count: int
    bytes_each: int
    prunable: bool = False

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
    """What a network costs: what it stores, multiply-accumulates, activation memory.

    `pruned` is the number of weights set to zero, by the bytes that one of them takes.
    """

    stored: Stored
    macs_per_second: int
    peak_activation_bytes: int
    items: tuple[Item, ...]
    pruned: Mapping[int, int]


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


def stored_items(
    architecture: Architecture,
    front_end: FrontEnd,
    compression: Compression,
    stored_as: StoredAs = "asc",
) -> tuple[Item, ...]:
    """Every tensor that the stored form has, in the order of its state_dict.

    In 8 bits `asc` stores weight scales as float32 and activation zero points as int32; `report` as float64 and int64,
    as torch's quantised modules do (report, section 3.1). In 16 bits `asc` folds batch norms into the convolutions;
    `report` stores them (the reading of section 4.1 that gives its 62,390 parameters within 0.1 %).
    """
    match compression.storage:
        case "int8":
            return tuple(_int8_items(architecture, front_end, stored_as))
        case "float16":
            return tuple(_float16_items(architecture, front_end, stored_as))


def pruned_counts(items: Sequence[Item], prune_ratio: float) -> dict[int, int]:
    """How many prunable weights become zero, by the bytes that one takes; rounded as `torch.nn.utils.prune` does.

    Weights are compared among those of their own stored width, for only then is it known before training how many
    bytes the zeros are: in 8 bits, convolution and dense weights take one byte and SE weights four.
    """
    prunable: Counter[int] = Counter()
    for item in items:
        prunable[item.bytes_each] += item.count if item.prunable else 0
    return {each: round(prune_ratio * count) for each, count in prunable.items() if count}


def _int8_items(architecture: Architecture, front_end: FrontEnd, stored_as: StoredAs) -> Iterator[Item]:
    wide = stored_as == "report"
    scale_bytes, zero_point_bytes = (8, 8) if wide else (4, 4)

    def quantiser(name: str) -> Iterator[Item]:
        yield Item(f"{name}.scale", "activation_scale", 1, FLOAT_BYTES)
        yield Item(f"{name}.zero_point", "activation_zero_point", 1, zero_point_bytes)

    def layer(name: str, weights: int, outputs: int) -> Iterator[Item]:
        yield Item(f"{name}.weight", "weight", weights, 1, prunable=True)
        yield Item(f"{name}.bias", "bias", outputs, 4)
        yield Item(f"{name}.weight_scale", "weight_scale", outputs, scale_bytes)
        yield from quantiser(f"{name}.output")

    yield from quantiser("input")
    yield from layer("stem", *_stem_sizes(architecture))
    for index, block in enumerate(architecture.blocks()):
        name, sizes = f"blocks.{index}", _conv_sizes(block)
        yield from layer(f"{name}.conv1", *sizes["conv1"])
        yield from layer(f"{name}.conv2", *sizes["conv2"])
        yield from _se_items(f"{name}.se", block.channels, block.se_bottleneck, FLOAT_BYTES)
        yield from quantiser(f"{name}.se_output")
        if block.has_skip:
            yield from layer(f"{name}.skip", *sizes["skip"])
            yield from quantiser(f"{name}.add")
    yield from quantiser("pool_output")
    yield from layer("dense", dense_inputs(architecture, front_end) * architecture.classes, architecture.classes)


def _float16_items(architecture: Architecture, front_end: FrontEnd, stored_as: StoredAs) -> Iterator[Item]:
    def biased(name: str, weights: int, outputs: int) -> Iterator[Item]:
        yield Item(f"{name}.weight", "weight", weights, FLOAT16_BYTES, prunable=True)
        yield Item(f"{name}.bias", "bias", outputs, FLOAT16_BYTES)

    def normed(name: str, weights: int, outputs: int) -> Iterator[Item]:
        if stored_as == "asc":
            yield from biased(name, weights, outputs)
            return
        yield Item(f"{name}.weight", "weight", weights, FLOAT16_BYTES, prunable=True)
        for value in _BATCH_NORM:
            yield Item(f"{name}.norm.{value}", "batch_norm", outputs, FLOAT16_BYTES)

    yield from normed("stem", *_stem_sizes(architecture))
    for index, block in enumerate(architecture.blocks()):
        name, sizes = f"blocks.{index}", _conv_sizes(block)
        yield from normed(f"{name}.conv1", *sizes["conv1"])
        yield from normed(f"{name}.conv2", *sizes["conv2"])
        yield from _se_items(f"{name}.se", block.channels, block.se_bottleneck, FLOAT16_BYTES)
        if block.has_skip:
            yield from biased(f"{name}.skip", *sizes["skip"])
    yield from biased("dense", dense_inputs(architecture, front_end) * architecture.classes, architecture.classes)


def _stem_sizes(architecture: Architecture) -> tuple[int, int]:
    """Weights and outputs of the input convolution."""
    return KERNEL**2 * architecture.widths[0], architecture.widths[0]


def _conv_sizes(block: Block) -> dict[Literal["conv1", "conv2", "skip"], tuple[int, int]]:
    """Weights and outputs of the convolutions of a block."""
    width = block.channels
    return {
        "conv1": (KERNEL**2 * block.in_channels * width, width),
        "conv2": (KERNEL**2 * width // block.cardinality * width, width),
        "skip": (block.in_channels * width, width),
    }


def dense_inputs(architecture: Architecture, front_end: FrontEnd) -> int:
    """Inputs of the dense layer: mean and standard deviation of every frequency bin of every last channel."""
    bins = front_end.mel_bands
    for stride in architecture.frequency_strides:
        bins = -(-bins // stride)
    return bins * architecture.widths[-1] * 2


def cost(
    architecture: Architecture,
    front_end: FrontEnd,
    compression: Compression,
    *,
    stored_as: StoredAs = "asc",
    seconds: float = 10.0,
) -> Cost:
    """Parameters, bytes, MACs on one second of audio, and peak activation bytes on `seconds` of audio.

    Raises:
        InputError: `seconds` holds no frame.
    """
    items = stored_items(architecture, front_end, compression, stored_as)
    pruned = pruned_counts(items, compression.prune_ratio)
    steps = activation_steps(architecture, front_end, compression, seconds=seconds)
    return Cost(
        stored=stored(items, pruned),
        macs_per_second=macs(architecture, front_end, seconds=1.0),
        peak_activation_bytes=max(step.live_bytes for step in steps),
        items=items,
        pruned=pruned,
    )


def stored(items: Sequence[Item], pruned: Mapping[int, int]) -> Stored:
    """Sums over stored items, of which so many weights of each width are zero."""
    parameters, size_bytes = sum(item.count for item in items), sum(item.size_bytes for item in items)
    return Stored(
        parameters=parameters,
        size_bytes=size_bytes,
        nonzero_parameters=parameters - sum(pruned.values()),
        nonzero_bytes=size_bytes - sum(each * count for each, count in pruned.items()),
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
    return tuple(_steps(architecture, _features(front_end, seconds), width))


def _steps(architecture: Architecture, here: _Map, width: int) -> Iterator[Step]:
    """`width` is the bytes of an element outside of float parts; at 4 nothing is quantised or dequantised."""
    quantised = width < FLOAT_BYTES
    if quantised:
        yield Step("input", here.elements * (FLOAT_BYTES + width))
    stem = _Map(architecture.widths[0], here.bins, here.frames)
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


def _se_items(name: str, width: int, bottleneck: int, bytes_each: int) -> Iterator[Item]:
    yield Item(f"{name}.reduce.weight", "se", width * bottleneck, bytes_each, prunable=True)
    yield Item(f"{name}.reduce.bias", "se", bottleneck, bytes_each)
    for value in _BATCH_NORM:
        yield Item(f"{name}.norm.{value}", "se_batch_norm", bottleneck, bytes_each)
    yield Item(f"{name}.expand.weight", "se", width * bottleneck, bytes_each, prunable=True)
    yield Item(f"{name}.expand.bias", "se", width, bytes_each)


def _features(front_end: FrontEnd, seconds: float) -> _Map:
    frames = front_end.frames(seconds)
    if frames < 1:
        raise InputError(f"{seconds} s of audio hold no frame: give at least {front_end.hop_s} s (front_end.hop_s)")
    return _Map(1, front_end.mel_bands, frames)
