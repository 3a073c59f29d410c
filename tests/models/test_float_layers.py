"""The float layers against torch's own, on the shapes of the network."""

import torch
from torch import nn

from asc.config.experiment import Experiment
from asc.models.build import build_network
from asc.models.float_layers import FloatConv1x1, FloatConvBn, FloatLinear, NoGrid

ONE = torch.tensor(1.0)


def test_convolution_batch_norm_and_relu_equal_torch() -> None:
    layer = FloatConvBn(nn.Conv2d(6, 8, 3, (2, 1), 1, groups=2, bias=False)).train()
    x = torch.randn(3, 6, 9, 11)
    twin = nn.Sequential(nn.Conv2d(6, 8, 3, (2, 1), padding=1, groups=2, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    twin[0].weight = layer.conv.weight
    assert torch.allclose(layer(x, ONE), twin(x), atol=1e-6)
    assert torch.allclose(layer.eval()(x, ONE), twin.eval()(x), atol=1e-6)


def test_a_strided_projection_equals_torch() -> None:
    layer, x = FloatConv1x1(6, 8, stride=(2, 3)), torch.randn(3, 6, 9, 11)
    expected = nn.functional.conv2d(x, layer.conv.weight, layer.conv.bias, (2, 3))
    assert torch.allclose(layer(x, ONE), expected, atol=1e-6)


def test_a_linear_layer_equals_torch_and_no_grid_is_the_identity() -> None:
    layer, x = FloatLinear(6, 8), torch.randn(3, 6)
    assert torch.equal(layer(x, ONE), layer.linear(x))
    assert torch.equal(NoGrid(nonnegative=True)(x), x)
    assert not NoGrid().state_dict(), "it has no state"


def test_float_and_quantised_networks_share_initial_weights_for_a_seed(tiny_experiment: Experiment) -> None:
    architecture, front_end = tiny_experiment.architecture, tiny_experiment.front_end
    plain = build_network(architecture, front_end, seed=3, storage="float16").state_dict()
    quantised = build_network(architecture, front_end, seed=3).state_dict()
    assert plain.keys() < quantised.keys()
    assert all(torch.equal(plain[name], quantised[name]) for name in plain)
    assert {name.rsplit(".", 1)[1] for name in quantised.keys() - plain.keys()} == {
        "low",
        "high",
        "scale",
        "zero_point",
    }
