"""From a config to an untrained network: the weights are a function of the seed alone."""

import torch

from asc.config import Architecture, FrontEnd
from asc.models.resnet_se import ResNetSE


def build_network(architecture: Architecture, front_end: FrontEnd, *, seed: int) -> ResNetSE:
    """An untrained fake-quantised network on the CPU, laid out channels_last; torch's own generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        match architecture.family:
            case "resnet_se":
                network = ResNetSE(architecture, front_end)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
