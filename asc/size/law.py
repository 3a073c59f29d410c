"""The size law: what a network stores and what it costs to run, from its config alone.

No weights are needed: every count follows from the topology, and a test holds them equal to built networks. Pruning
sets an exact number of weights of each stored width to zero, so that non-zero bytes are known before training.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import assert_never

from asc.config.experiment import Experiment
from asc.results import Stored
from asc.size.activations import features, peak_bytes
from asc.size.file_layout import file_bytes
from asc.size.items import Item
from asc.size.stored_items import StoredAs, stored_items
from asc.topology.describe import topology_of
from asc.topology.layers import (
    Add,
    ConvNormRelu,
    Dense,
    Input,
    Layer,
    Projection,
    SqueezeExcite,
    StatisticsPool,
)
from asc.topology.topology import Shape, Topology


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


def cost(experiment: Experiment, *, stored_as: StoredAs = "asc", seconds: float = 10.0) -> Cost:
    """Parameters, bytes, MACs on one second of audio, and peak activation bytes on `seconds` of audio.

    Raises:
        InputError: `seconds` holds no frame.
    """
    ratio = experiment.compression.prune_ratio
    items = stored_items(experiment, stored_as)
    pruned = pruned_counts(items, ratio)
    sums = stored(items, pruned)
    if stored_as != "asc":  # a file is always asc's own
        own = stored_items(experiment)
        sums = replace(sums, file_bytes=file_bytes(own, pruned_counts(own, ratio)))
    return Cost(
        stored=sums,
        macs_per_second=macs(experiment, seconds=1.0),
        peak_activation_bytes=peak_bytes(experiment, seconds=seconds),
        items=items,
        pruned=pruned,
    )


def stored(items: Sequence[Item], pruned: Mapping[int, int]) -> Stored:
    """Sums over stored items; `pruned` is how many weights of each width are zero; the file is asc's of these items."""
    parameters, size_bytes = sum(item.count for item in items), sum(item.size_bytes for item in items)
    return Stored(
        parameters=parameters,
        size_bytes=size_bytes,
        nonzero_parameters=parameters - sum(pruned.values()),
        nonzero_bytes=size_bytes - sum(each * count for each, count in pruned.items()),
        file_bytes=file_bytes(items, pruned),
    )


def pruned_counts(items: Sequence[Item], prune_ratio: float) -> dict[int, int]:
    """How many prunable weights become zero, by the bytes that one takes; rounded as `torch.nn.utils.prune` does.

    Weights are compared among those of their own stored width, for only then is it known before training how many
    bytes the zeros are: in 8 bits, convolution and dense weights take one byte and SE weights four.
    """
    prunable: Counter[int] = Counter()
    for item in items:
        prunable[item.bytes_each] += item.count if item.prunable else 0
    return {each: round(prune_ratio * count) for each, count in prunable.items() if count}


def macs(experiment: Experiment, *, seconds: float = 1.0) -> int:
    """Multiply-accumulates of all convolutions and linear layers (SE included) on this much audio.

    Additions of biases, batch norm, pooling and the scaling by SE are not counted.

    Raises:
        InputError: `seconds` holds no frame.
    """
    return macs_of(topology_of(experiment), features(experiment.front_end, seconds))


def macs_of(topology: Topology, frames: int) -> int:
    """`macs` of a topology on `frames` frames of log-mel."""
    shapes = topology.shapes(frames)
    return sum(_macs(layer, shapes[layer.name]) for layer in topology.layers)


def _macs(layer: Layer, shape: Shape) -> int:
    """Multiply-accumulates of a layer whose output has this shape."""
    match layer:
        case ConvNormRelu() | Projection():
            return layer.weights * prod(shape[1:])
        case Dense():
            return layer.weights
        case SqueezeExcite():
            return 2 * layer.channels * layer.bottleneck
        case Input() | Add() | StatisticsPool():
            return 0
        case _:
            assert_never(layer)
