"""From a config to an untrained network, whose initial weights depend on the seed alone."""

import torch

from asc.config.architecture import Architecture
from asc.config.experiment import Storage
from asc.config.front_end import FrontEnd
from asc.models.network import Network
from asc.topology.describe import for_front_end
from asc.topology.topology import Topology


def build_network(architecture: Architecture, front_end: FrontEnd, *, seed: int, storage: Storage = "int8") -> Network:
    """The untrained network of a config (see `build`)."""
    return build(for_front_end(architecture, front_end), front_end, seed=seed, storage=storage)


def build(topology: Topology, front_end: FrontEnd, *, seed: int, storage: Storage) -> Network:
    """An untrained network on the CPU, in channels_last layout; torch's global generator is left unchanged.

    The network is fake-quantised if `storage` is "int8".
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = Network(topology, front_end, storage)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
