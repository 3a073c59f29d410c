"""The size law: every stored item of a network, and what it costs to run, from the config alone.

No weights are needed: the counts are closed forms over `Architecture.blocks()`; a test holds them equal to built ones.
Pruning sets an exact number of weights of each stored width to zero, so that non-zero bytes are known before training.
Reference: IDLab report, DCASE 2021 task 1a, sections 2.3, 3.1 and 3.3 (113,976 parameters, 127.64 KB; 62,390 pruned).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from asc.activations import FLOAT_BYTES, features, peak_bytes
from asc.config import Architecture, Block, Compression, FrontEnd
from asc.file_layout import file_bytes
from asc.items import Item
from asc.results import Stored

StoredAs = Literal["asc", "report"]
KERNEL = 3
FLOAT16_BYTES = 2
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


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
    sums = stored(items, pruned)
    if stored_as != "asc":  # a file is always asc's own
        own = stored_items(architecture, front_end, compression)
        sums = replace(sums, file_bytes=file_bytes(own, pruned_counts(own, compression.prune_ratio)))
    return Cost(
        stored=sums,
        macs_per_second=macs(architecture, front_end, seconds=1.0),
        peak_activation_bytes=peak_bytes(architecture, front_end, compression, seconds=seconds),
        items=items,
        pruned=pruned,
    )


def stored(items: Sequence[Item], pruned: Mapping[int, int]) -> Stored:
    """Sums over stored items, of which so many weights of each width are zero; the file is asc's of these items."""
    parameters, size_bytes = sum(item.count for item in items), sum(item.size_bytes for item in items)
    return Stored(
        parameters=parameters,
        size_bytes=size_bytes,
        nonzero_parameters=parameters - sum(pruned.values()),
        nonzero_bytes=size_bytes - sum(each * count for each, count in pruned.items()),
        file_bytes=file_bytes(items, pruned),
    )


def macs(architecture: Architecture, front_end: FrontEnd, *, seconds: float = 1.0) -> int:
    """Multiply-accumulates of all convolutions and linear layers (SE included) on this much audio.

    Additions of biases, batch norm, pooling and the scaling by SE are not counted.
    """
    here = features(front_end, seconds)
    total = KERNEL**2 * architecture.widths[0] * here.elements
    for block in architecture.blocks():
        there = here.after(block)
        inputs = KERNEL**2 * (block.in_channels + block.channels // block.cardinality)
        inputs += block.in_channels if block.has_skip else 0
        total += inputs * there.elements + 2 * block.channels * block.se_bottleneck
        here = there
    return total + dense_inputs(architecture, front_end) * architecture.classes


def reach_frames(architecture: Architecture) -> int:
    """How many frames to either side an output of the last map depends on, gates apart."""
    frames, apart = KERNEL // 2, 1
    for stride in architecture.time_strides:
        frames += KERNEL // 2 * apart  # the first convolution of a block looks at its input
        apart *= stride
        frames += KERNEL // 2 * apart
    return frames


def _se_items(name: str, width: int, bottleneck: int, bytes_each: int) -> Iterator[Item]:
    yield Item(f"{name}.reduce.weight", "se", width * bottleneck, bytes_each, prunable=True)
    yield Item(f"{name}.reduce.bias", "se", bottleneck, bytes_each)
    for value in _BATCH_NORM:
        yield Item(f"{name}.norm.{value}", "se_batch_norm", bottleneck, bytes_each)
    yield Item(f"{name}.expand.weight", "se", width * bottleneck, bytes_each, prunable=True)
    yield Item(f"{name}.expand.bias", "se", width, bytes_each)
