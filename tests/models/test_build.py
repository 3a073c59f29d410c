"""Initial weights are a function of the seed alone."""

import torch

from asc.config.architecture import Architecture
from asc.config.front_end import FrontEnd
from asc.models.build import build_network

SMALL = Architecture(widths=(4, 8), depths=(1, 1), se_bottlenecks=(2, 2), frequency_strides=(2, 2), time_strides=(2, 1))
FRONT_END = FrontEnd(mel_bands=16)


def weights(seed):
    return build_network(SMALL, FRONT_END, seed=seed).state_dict()


def test_equal_seeds_give_equal_weights_for_any_global_generator_state():
    torch.manual_seed(1)
    first = weights(seed=5)
    torch.manual_seed(2)
    second = weights(seed=5)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["stem.conv.weight"], weights(seed=6)["stem.conv.weight"])


def test_the_global_generator_is_unchanged():
    before = torch.get_rng_state()
    build_network(SMALL, FRONT_END, seed=5)
    assert torch.equal(before, torch.get_rng_state())


def test_activations_are_laid_out_channels_last():
    network = build_network(SMALL, FRONT_END, seed=0)
    layouts = []
    for name in ("stem", "blocks.0.se_output", "blocks.1.add"):
        network.get_submodule(name).register_forward_hook(
            lambda _m, _i, out: layouts.append(out.is_contiguous(memory_format=torch.channels_last))
        )
    network(torch.randn(2, 1, 16, 20))
    assert layouts == [True, True, True]
