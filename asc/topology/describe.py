"""From a config to the description of its network: the one place that asks of which family it is."""

from asc.config import Architecture, Experiment
from asc.topology import resnet_se
from asc.topology.topology import Topology


def topology_of(experiment: Experiment) -> Topology:
    """What the network of an experiment consists of."""
    return describe(experiment.architecture, experiment.front_end.mel_bands)


def describe(architecture: Architecture, bins: int) -> Topology:
    """What a network for log-mel of so many bins consists of."""
    match architecture.family:
        case "resnet_se":
            return Topology(layers=tuple(resnet_se.layers(architecture, bins)), bins=bins)
