"""From a config to the description of its network: the one place that asks of which family it is."""

from collections.abc import Iterator, Mapping
from functools import lru_cache

from asc.config.experiment import Architecture, Experiment
from asc.topology import resnet_se
from asc.topology.topology import Topology
from asc.typed import Value


def topology_of(experiment: Experiment) -> Topology:
    """What the network of an experiment consists of."""
    return describe(experiment.architecture, experiment.front_end.mel_bands)


@lru_cache(maxsize=16)  # a description cannot change, and the size law asks for it several times
def describe(architecture: Architecture, bins: int) -> Topology:
    """What a network for log-mel of `bins` bins consists of."""
    match architecture.family:
        case "resnet_se":
            return Topology(layers=tuple(resnet_se.layers(architecture, bins)), bins=bins)


NARROWED = (resnet_se.WIDTHS,)
"""The config keys that make networks narrower, of all families."""


def short_name(architecture: Architecture) -> str:
    """A few characters that tell one network from another in a table."""
    match architecture.family:
        case "resnet_se":
            return resnet_se.short_name(architecture)


def narrowings(base: Architecture, values: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """How the network of a point may be made narrower, widest first: for each way the config values that it changes.

    `values` are those of the point, by dotted key; what it leaves open is as in `base`.
    """
    match base.family:
        case "resnet_se":
            return resnet_se.narrowings(base, values)


def drawn(base: Architecture, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values of a point that `narrowings` may change, as they were drawn."""
    match base.family:
        case "resnet_se":
            return {resnet_se.WIDTHS: resnet_se.drawn_widths(base, values)}
