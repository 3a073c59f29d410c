"""From a config to the description of its network: the only module that distinguishes families."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from asc.config.architecture import Architecture
from asc.config.experiment import Experiment
from asc.config.front_end import FrontEnd
from asc.topology import bc_resnet, cp_mobile, resnet_se
from asc.topology.layers import LOG_MEL, BandNorm, Layer
from asc.topology.topology import Topology
from asc.typed import Value


def topology_of(experiment: Experiment) -> Topology:
    """The topology of an experiment's network."""
    return for_front_end(experiment.architecture, experiment.front_end)


def for_front_end(architecture: Architecture, front_end: FrontEnd) -> Topology:
    """The topology of a network that reads the log-mel of this front end."""
    return describe(architecture, front_end.mel_bands, standardised=front_end.normalisation == "per_band")


@lru_cache(maxsize=16)  # a description cannot change, and the size law asks for it several times
def describe(architecture: Architecture, bins: int, *, standardised: bool = False) -> Topology:
    """The topology of a network that reads log-mel of `bins` bins; `standardised` puts a `BandNorm` in front of it."""
    layers = _layers(architecture, bins)
    return Topology(layers=tuple(_standardised(layers, bins) if standardised else layers), bins=bins)


def _standardised(layers: Iterable[Layer], bins: int) -> Iterator[Layer]:
    yield (norm := BandNorm(name="bands", bins=bins))
    for layer in layers:
        yield replace(layer, reads=tuple(norm.name if name == LOG_MEL else name for name in layer.reads))


def _layers(architecture: Architecture, bins: int) -> Iterator[Layer]:
    match architecture.family:
        case "resnet_se":
            return resnet_se.layers(architecture, bins)
        case "cp_mobile":
            return cp_mobile.layers(architecture, bins)
        case "bc_resnet":
            return bc_resnet.layers(architecture, bins)


def kind_of(architecture: Architecture) -> str:
    """What a network of the family is called, after "an 8-bit" or "a 16-bit"."""
    match architecture.family:
        case "resnet_se":
            return resnet_se.kind(architecture)
        case "cp_mobile":
            return "CP-Mobile network"
        case "bc_resnet":
            return "BC-ResNet"


NARROWED = (resnet_se.WIDTHS, cp_mobile.BASE, bc_resnet.BASE)
"""The config keys that make a network narrower, for all families."""


def short_name(architecture: Architecture) -> str:
    """A short label that tells networks apart in a table."""
    match architecture.family:
        case "resnet_se":
            return resnet_se.short_name(architecture)
        case "cp_mobile":
            return cp_mobile.short_name(architecture)
        case "bc_resnet":
            return bc_resnet.short_name(architecture)


def fitted(base: Architecture, values: Mapping[str, Value]) -> dict[str, Value]:
    """The config values of a point, made to fit together where they are drawn one by one; `base` as in `narrowings`.

    Raises:
        InputError: they cannot be made to fit.
    """
    match base.family:
        case "resnet_se":
            return resnet_se.fitted(base, values)
        case "cp_mobile" | "bc_resnet":
            return dict(values)


def narrowings(base: Architecture, values: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """Ways to make the network of a point narrower, widest first; each gives the config values that it changes.

    `values` are those of the point, by dotted key; anything else is as in `base`.
    """
    match base.family:
        case "resnet_se":
            return resnet_se.narrowings(base, values)
        case "cp_mobile":
            return cp_mobile.narrowings(base, values)
        case "bc_resnet":
            return bc_resnet.narrowings(base, values)


def narrowed(architecture: Architecture, changes: Mapping[str, Value]) -> Architecture:
    """A network with the values of one of its `narrowings`, much faster than by `Experiment.updated`."""
    match architecture.family:
        case "resnet_se":
            return resnet_se.narrowed(architecture, changes)
        case "cp_mobile":
            return cp_mobile.narrowed(architecture, changes)
        case "bc_resnet":
            return bc_resnet.narrowed(architecture, changes)


def drawn(base: Architecture, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values that `narrowings` may change, as the point was drawn."""
    match base.family:
        case "resnet_se":
            return {resnet_se.WIDTHS: resnet_se.drawn_widths(base, values)}
        case "cp_mobile":
            return cp_mobile.drawn(base, values)
        case "bc_resnet":
            return bc_resnet.drawn(base, values)
