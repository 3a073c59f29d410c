"""Every tensor of a stored network, in the order of its state_dict, from the topology alone.

Reference: IDLab report, DCASE 2021 task 1a, sections 2.3, 3.1 and 3.3 (113,976 parameters, 127.64 KB; 62,390 pruned).
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import Literal, assert_never

from asc.config.experiment import Experiment, Storage
from asc.size.items import Item
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
    has_bias,
)
from asc.topology.topology import Topology

StoredAs = Literal["asc", "report"]
FLOAT_BYTES, FLOAT16_BYTES = 4, 2
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def stored_items(experiment: Experiment, stored_as: StoredAs = "asc") -> tuple[Item, ...]:
    """Every tensor of the stored network, in the order of its state_dict.

    In 8 bits, "asc" stores weight scales as float32 and activation zero points as int32; "report" stores float64 and
    int64, like torch's quantised modules (report, section 3.1). In 16 bits, "asc" folds batch norms into the
    convolutions; "report" stores them, which is how its section 4.1 must be read to get its 62,390 parameters to within
    0.1 %.
    """
    return items_of(topology_of(experiment), experiment.compression.storage, stored_as)


def items_of(topology: Topology, storage: Storage, stored_as: StoredAs = "asc") -> tuple[Item, ...]:
    """`stored_items` for a topology."""
    return tuple(chain.from_iterable(_layer_items(layer, storage, stored_as) for layer in topology.layers))


@lru_cache(maxsize=4096)  # a search sizes thousands of networks, which share most of their layers
def _layer_items(layer: Layer, storage: Storage, stored_as: StoredAs) -> tuple[Item, ...]:
    items = _int8_items if storage == "int8" else _float16_items
    return tuple(items(layer, stored_as))


def _int8_items(layer: Layer, stored_as: StoredAs) -> Iterator[Item]:
    match layer:
        case BandNorm():
            yield from _band_norm_items(layer, FLOAT_BYTES)
            return  # it has no grid
        case ConvNorm() | Projection() | Dense():
            yield Item(f"{layer.name}.weight", "weight", layer.weights, 1, prunable=True)
            if has_bias(layer):
                yield Item(f"{layer.name}.bias", "bias", layer.outputs, 4)
            yield Item(f"{layer.name}.weight_scale", "weight_scale", layer.outputs, 8 if stored_as == "report" else 4)
        case SubSpectralConv():
            yield from _sub_spectral_items(layer, 1, FLOAT_BYTES)
        case SqueezeExcite():
            yield from _se_items(layer, FLOAT_BYTES)
        case ResponseNorm():
            yield from _response_norm_items(layer, FLOAT_BYTES)
        case AveragePool() | MaxPool():
            return  # its grid is stored with the layer that it reads
        case Input() | ResidualNorm() | Add() | Swish() | FrequencyMean() | StatisticsPool() | MeanPool():
            pass
        case _:
            assert_never(layer)
    yield Item(f"{layer.grid}.scale", "activation_scale", 1, FLOAT_BYTES)
    yield Item(f"{layer.grid}.zero_point", "activation_zero_point", 1, 8 if stored_as == "report" else 4)


def _float16_items(layer: Layer, stored_as: StoredAs) -> Iterator[Item]:
    match layer:
        case BandNorm():
            yield from _band_norm_items(layer, FLOAT16_BYTES)
        case ConvNorm(name=name, outputs=outputs, norm=True) if stored_as == "report":
            yield Item(f"{name}.weight", "weight", layer.weights, FLOAT16_BYTES, prunable=True)
            for value in _BATCH_NORM:
                yield Item(f"{name}.norm.{value}", "batch_norm", outputs, FLOAT16_BYTES)
        case ConvNorm() | Projection() | Dense():
            yield Item(f"{layer.name}.weight", "weight", layer.weights, FLOAT16_BYTES, prunable=True)
            if has_bias(layer):
                yield Item(f"{layer.name}.bias", "bias", layer.outputs, FLOAT16_BYTES)
        case SubSpectralConv():
            yield from _sub_spectral_items(layer, FLOAT16_BYTES, FLOAT16_BYTES)
        case SqueezeExcite():
            yield from _se_items(layer, FLOAT16_BYTES)
        case ResponseNorm():
            yield from _response_norm_items(layer, FLOAT16_BYTES)
        case (
            Input()
            | ResidualNorm()
            | Add()
            | Swish()
            | FrequencyMean()
            | AveragePool()
            | MaxPool()
            | StatisticsPool()
            | MeanPool()
        ):
            pass
        case _:
            assert_never(layer)


def _band_norm_items(layer: BandNorm, bytes_each: int) -> Iterator[Item]:
    yield Item(f"{layer.name}.mean", "band_norm", layer.bins, bytes_each)
    yield Item(f"{layer.name}.deviation", "band_norm", layer.bins, bytes_each)


def _sub_spectral_items(layer: SubSpectralConv, weight_bytes: int, bytes_each: int) -> Iterator[Item]:
    yield Item(f"{layer.name}.weight", "weight", layer.weights, weight_bytes, prunable=True)
    yield Item(f"{layer.name}.band_scale", "sub_spectral_norm", layer.normed, bytes_each)
    yield Item(f"{layer.name}.band_shift", "sub_spectral_norm", layer.normed, bytes_each)


def _response_norm_items(layer: ResponseNorm, bytes_each: int) -> Iterator[Item]:
    yield Item(f"{layer.name}.weight", "response_norm", 1, bytes_each)
    yield Item(f"{layer.name}.bias", "response_norm", 1, bytes_each)


def _se_items(layer: SqueezeExcite, bytes_each: int) -> Iterator[Item]:
    name, weights = layer.name, layer.channels * layer.bottleneck
    yield Item(f"{name}.reduce.weight", "se", weights, bytes_each, prunable=True)
    yield Item(f"{name}.reduce.bias", "se", layer.bottleneck, bytes_each)
    for value in _BATCH_NORM:
        yield Item(f"{name}.norm.{value}", "se_batch_norm", layer.bottleneck, bytes_each)
    yield Item(f"{name}.expand.weight", "se", weights, bytes_each, prunable=True)
    yield Item(f"{name}.expand.bias", "se", layer.channels, bytes_each)
