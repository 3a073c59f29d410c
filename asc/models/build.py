"""From a config to an untrained network: the weights are a function of the seed alone."""

import torch

from asc.config import Architecture, FrontEnd, Storage
from asc.models.network import Network


def build_network(architecture: Architecture, front_end: FrontEnd, *, seed: int, storage: Storage = "int8") -> Network:
    """An untrained network on the CPU, laid out channels_last; torch's own generator is left alone.

    It is fake-quantised where it will be stored in 8 bits.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = Network(architecture, front_end, storage)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
