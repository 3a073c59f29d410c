"""From a config to an untrained network: the weights are a function of the seed alone."""

import torch

from asc.config.experiment import Architecture, FrontEnd, Storage
from asc.models.network import Network
from asc.topology.describe import describe
from asc.topology.topology import Topology


def build_network(architecture: Architecture, front_end: FrontEnd, *, seed: int, storage: Storage = "int8") -> Network:
    """An untrained network of a config (see `build`)."""
    return build(describe(architecture, front_end.mel_bands), front_end, seed=seed, storage=storage)


def build(topology: Topology, front_end: FrontEnd, *, seed: int, storage: Storage) -> Network:
    """An untrained network on the CPU, laid out channels_last; torch's own generator is left alone.

    It is fake-quantised where it will be stored in 8 bits.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = Network(topology, front_end, storage)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
