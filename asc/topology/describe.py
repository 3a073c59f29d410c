"""From a config to the description of its network: the only module that distinguishes families."""

from collections.abc import Iterator, Mapping
from functools import lru_cache

from asc.config.architecture import Architecture
from asc.config.experiment import Experiment
from asc.topology import bc_resnet, cp_mobile, resnet_se
from asc.topology.topology import Topology
from asc.typed import Value


def topology_of(experiment: Experiment) -> Topology:
    """The topology of an experiment's network."""
    return describe(experiment.architecture, experiment.front_end.mel_bands)


@lru_cache(maxsize=16)  # a description cannot change, and the size law asks for it several times
def describe(architecture: Architecture, bins: int) -> Topology:
    """The topology of a network that reads log-mel of `bins` bins."""
    match architecture.family:
        case "resnet_se":
            return Topology(layers=tuple(resnet_se.layers(architecture, bins)), bins=bins)
        case "cp_mobile":
            return Topology(layers=tuple(cp_mobile.layers(architecture, bins)), bins=bins)
        case "bc_resnet":
            return Topology(layers=tuple(bc_resnet.layers(architecture, bins)), bins=bins)


def kind_of(architecture: Architecture) -> str:
    """What a network of the family is called, after "an 8-bit" or "a 16-bit"."""
    match architecture.family:
        case "resnet_se":
            return "residual network"
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
