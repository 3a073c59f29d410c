"""The size law: what a network stores and what it costs to run, from its config alone.

No weights are needed: every count follows from the topology, and a test compares the counts with built networks.
Pruning sets an exact number of weights of each stored width to zero, so the non-zero bytes are known before training.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import assert_never

from asc.config.experiment import Experiment
from asc.results import StoredSize
from asc.size.activations import features, peak_bytes
from asc.size.file_layout import file_bytes
from asc.size.items import Item
from asc.size.stored_items import StoredAs, stored_items
from asc.topology.describe import topology_of
from asc.topology.layers import (
    Add,
    AveragePool,
    BandNorm,
    ConvNorm,
    Dense,
    FrequencyMean,
    Input,
    Layer,
    MaxPool,
    MeanPool,
    Projection,
    ResidualNorm,
    ResponseNorm,
    SqueezeExcite,
    StatisticsPool,
    SubSpectralConv,
    Swish,
)
from asc.topology.topology import Shape, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a network costs: storage, multiply-accumulates, activation memory.

    `pruned` is the number of weights that are set to zero, by bytes per weight.
    """

    stored: StoredSize
    macs_per_second: int
    peak_activation_bytes: int
    items: tuple[Item, ...]
    pruned: Mapping[int, int]


class Costing:
    """The figures of a `Cost`, each computed when it is first asked for: a limit on one of them needs only that one."""

    def __init__(self, experiment: Experiment, *, stored_as: StoredAs = "asc", seconds: float = 10.0) -> None:
        """The arguments are those of `cost`."""
        self._experiment, self._stored_as, self._seconds = experiment, stored_as, seconds

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """Every tensor of the stored network."""
        return stored_items(self._experiment, self._stored_as)

    @cached_property
    def pruned(self) -> dict[int, int]:
        """The number of weights that are set to zero, by bytes per weight."""
        return pruned_counts(self.items, self._experiment.compression.prune_ratio)

    @cached_property
    def stored(self) -> StoredSize:
        """Parameters and bytes."""
        sums = stored(self.items, self.pruned)
        if self._stored_as == "asc":
            return sums
        return replace(sums, file_bytes=Costing(self._experiment).stored.file_bytes)  # the file has asc's own form

    @cached_property
    def macs_per_second(self) -> int:
        """Multiply-accumulates on one second of audio; raises InputError as `macs` does."""
        return macs(self._experiment, seconds=1.0)

    @cached_property
    def peak_activation_bytes(self) -> int:
        """Peak activation bytes on `seconds` of audio; raises InputError as `peak_bytes` does."""
        return peak_bytes(self._experiment, seconds=self._seconds)

    def whole(self) -> Cost:
        """All figures; raises InputError as `cost` does."""
        return Cost(
            stored=self.stored,
            macs_per_second=self.macs_per_second,
            peak_activation_bytes=self.peak_activation_bytes,
            items=self.items,
            pruned=self.pruned,
        )


def cost(experiment: Experiment, *, stored_as: StoredAs = "asc", seconds: float = 10.0) -> Cost:
    """Parameters, bytes, MACs on one second of audio, and peak activation bytes on `seconds` of audio.

    Raises:
        InputError: `seconds` is shorter than one frame.
    """
    return Costing(experiment, stored_as=stored_as, seconds=seconds).whole()


def stored(items: Sequence[Item], pruned: Mapping[int, int]) -> StoredSize:
    """Totals over stored items and the length of their model file; `pruned` is the number of zeros by weight width."""
    parameters, size_bytes = sum(item.count for item in items), sum(item.size_bytes for item in items)
    return StoredSize(
        parameters=parameters,
        size_bytes=size_bytes,
        nonzero_parameters=parameters - sum(pruned.values()),
        nonzero_bytes=size_bytes - sum(each * count for each, count in pruned.items()),
        file_bytes=file_bytes(items, pruned),
    )


def pruned_counts(items: Sequence[Item], prune_ratio: float) -> dict[int, int]:
    """The number of prunable weights that become zero, by bytes per weight; rounded as in `torch.nn.utils.prune`.

    Weights are ranked among those of the same stored width (in 8 bits, convolution and dense weights take one byte and
    SE weights four). If they were ranked together, the bytes of the zeros would not be known before training.
    """
    prunable: Counter[int] = Counter()
    for item in items:
        prunable[item.bytes_each] += item.count if item.prunable else 0
    return {each: round(prune_ratio * count) for each, count in prunable.items() if count}


def macs(experiment: Experiment, *, seconds: float = 1.0) -> int:
    """Multiply-accumulates of all convolutions and linear layers (SE included) on `seconds` of audio.

    Biases, norms, pooling and the scaling by SE are not counted.

    Raises:
        InputError: `seconds` is shorter than one frame.
    """
    return macs_of(topology_of(experiment), features(experiment.front_end, seconds))


def macs_of(topology: Topology, frames: int) -> int:
    """`macs` for a topology and a number of log-mel frames."""
    shapes = topology.shapes(frames)
    last_map = shapes[topology.pool.reads[0]]
    return sum(_macs(layer, shapes[layer.name], last_map) for layer in topology.layers)


def _macs(layer: Layer, shape: Shape, last_map: Shape) -> int:
    """Multiply-accumulates of a layer whose output has this shape; `last_map` is that of the map that is pooled."""
    match layer:
        case ConvNorm() | SubSpectralConv() | Projection():
            return layer.weights * prod(shape[1:])
        case Dense():
            return layer.weights * (prod(last_map[1:]) if layer.over_map else 1)
        case SqueezeExcite():
            return 2 * layer.channels * layer.bottleneck
        case BandNorm() | Input() | ResponseNorm() | Add() | Swish() | FrequencyMean() | AveragePool() | MaxPool():
            return 0
        case ResidualNorm() | StatisticsPool() | MeanPool():
            return 0
        case _:
            assert_never(layer)
