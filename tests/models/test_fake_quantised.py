"""Fake quantisation against torch's own operators and its published formula for folding."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from weights_by_torch import weight_by_torch

from asc.models.activation_grid import ActivationQuantiser
from asc.models.fake_quantised import ConvBn, QuantConv1x1, QuantLinear
from asc.models.layers import every, folded
from asc.models.pieces import PER_THREAD
from asc.models.weight_grid import weight_scale

SCALE = torch.tensor(0.05)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_torch(x, quantiser):
    return torch.fake_quantize_per_tensor_affine(x, quantiser.scale, quantiser.zero_point, 0, 255)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(offset=st.floats(-5, 5), spread=st.floats(0.01, 10), nonnegative=st.booleans(), seed=st.integers(0, 1000))
def test_values_and_gradients_equal_torchs_operator(offset, spread, nonnegative, seed):
    quantiser = ActivationQuantiser(nonnegative=nonnegative)
    quantiser(randn(100, seed=seed) * spread + offset)
    quantiser.eval()
    x = (randn(1000, seed=seed + 1) * 2 * spread + offset).requires_grad_()
    theirs = x.detach().clone().requires_grad_()
    weights = randn(1000, seed=seed + 2)
    (quantiser(x) * weights).sum().backward()
    (by_torch(theirs, quantiser) * weights).sum().backward()
    # A value within rounding error of a tie may round either way, so ties are left out.
    steps = x.detach().double() / quantiser.scale.double()
    clear = ((steps - steps.floor() - 0.5).abs() > 1e-4).float()
    assert clear.mean() > 0.99
    torch.testing.assert_close(quantiser(x) * clear, by_torch(x, quantiser) * clear)
    assert torch.equal(x.grad * clear, theirs.grad * clear)


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_large_maps_are_the_same_in_pieces_whole_and_in_place(nonnegative, layout):
    x = randn(3, 5, 200, 70).contiguous(memory_format=layout)
    gradient = randn(3, 5, 200, 70, seed=1)
    quantiser = ActivationQuantiser(nonnegative=nonnegative)
    quantiser(x * 0.7)
    quantiser.observing = False
    assert x.numel() > PER_THREAD * torch.get_num_threads()
    found = []
    for source, in_place in ((x, False), (x, True), (x[:, :, ::2], False), (x[:, :, 1::2], True)):
        values = source.clone(memory_format=torch.preserve_format).requires_grad_()
        y = quantiser(values * 1, in_place=in_place)
        y.backward(gradient[:, :, : y.shape[2]])
        found.append((y.detach(), values.grad))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    assert torch.equal(found[2][0], found[0][0][:, :, ::2]) and torch.equal(found[3][0], found[0][0][:, :, 1::2])
    limits = 0 if nonnegative else quantiser.low, quantiser.high
    within = (x > limits[0] - quantiser.scale / 2) & (x < limits[1] + quantiser.scale / 2)
    assert float((found[0][1] == gradient * within).float().mean()) > 0.999


def test_in_place_is_refused_where_a_backward_pass_needs_the_values():
    quantiser = ActivationQuantiser(nonnegative=True)
    y = torch.relu(randn(50).requires_grad_())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        quantiser(y, in_place=True).sum().backward()


def test_a_nonnegative_quantiser_also_acts_as_a_relu():
    quantiser = ActivationQuantiser(nonnegative=True)
    x = randn(5000)
    assert torch.equal(quantiser(x), quantiser.eval()(torch.relu(x)))
    assert int(quantiser.zero_point) == 0
    assert float(quantiser(x).max()) == pytest.approx(float(x.max()))


@pytest.mark.parametrize("values", [[2.0, 3.0], [-3.0, -2.0], [0.0, 0.0], [-1.0, 4.0]])
def test_zero_is_on_the_grid_exactly(values):
    quantiser = ActivationQuantiser()
    quantiser(torch.tensor(values))
    assert float(quantiser.eval()(torch.zeros(1))) == 0.0
    torch.testing.assert_close(quantiser(torch.tensor(values)), torch.tensor(values), atol=0.02, rtol=0)


def test_the_range_is_a_moving_average_initialised_by_the_first_batch():
    quantiser = ActivationQuantiser(momentum=0.25)
    quantiser(torch.tensor([-1.0, 3.0]))
    assert (float(quantiser.low), float(quantiser.high)) == (-1.0, 3.0)
    quantiser(torch.tensor([-5.0, 1.0]))
    assert (float(quantiser.low), float(quantiser.high)) == (-2.0, 2.5)
    assert float(quantiser.scale) == pytest.approx(4.5 / 255)
    assert int(quantiser.zero_point) == round(2.0 / (4.5 / 255))
    quantiser.observing = False
    quantiser(torch.tensor([-50.0, 50.0]))
    quantiser.observing = True
    quantiser.eval()(torch.tensor([-50.0, 50.0]))
    assert (float(quantiser.low), float(quantiser.high)) == (-2.0, 2.5)


@pytest.mark.parametrize("nonnegative", [True, False])
def test_numbers_and_tensors_follow_a_range_alike(nonnegative):
    ends = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).sort().values * 3
    ours, theirs = ActivationQuantiser(nonnegative=nonnegative), ActivationQuantiser(nonnegative=nonnegative)
    for low, high in ends:
        ours.follow(low, high)
        theirs._known = bool(torch.isfinite(theirs.low))
        theirs._follow_tensors(low, high)
        assert torch.equal(ours.zero_point, theirs.zero_point)
        for name in ("low", "high", "scale"):
            torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-6, atol=0)


def test_a_range_that_is_no_number_makes_the_values_none():
    quantiser = ActivationQuantiser().train()
    quantiser(torch.tensor([-1.0, 2.0]))
    assert bool(quantiser(torch.tensor([-1.0, float("nan")])).isnan().all())


def test_batch_range_can_be_replaced():
    quantiser = ActivationQuantiser()
    quantiser.batch_range = lambda x: (torch.tensor(-7.0), torch.tensor(9.0))
    quantiser(torch.zeros(3))
    assert (float(quantiser.low), float(quantiser.high)) == (-7.0, 9.0)


@pytest.mark.parametrize("kind", ["map", "vector"])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_two_workers_have_the_range_of_the_whole_batch(joint, kind, nonnegative):
    alone = ActivationQuantiser(nonnegative=nonnegative)
    alone(joint.parts[0][f"{kind}.gradient"])
    for part in joint.parts:
        for name, value in alone.named_buffers():
            assert torch.equal(part[f"{kind}.{nonnegative}.{name}"], value)


def layer_with_statistics(groups=2):
    torch.manual_seed(3)
    layer = ConvBn(nn.Conv2d(4, 6, 3, (2, 1), 1, groups=groups, bias=False))
    with torch.no_grad():
        layer.norm.running_mean.copy_(torch.randn(6))
        layer.norm.running_var.copy_(torch.rand(6) + 0.5)
        layer.norm.weight.copy_(torch.tensor([1.0, -0.7, 0.01, 2.0, 0.3, -3.0]))
        layer.norm.bias.copy_(torch.randn(6))
    return layer


def test_training_equals_torchs_scaling_quantising_and_dividing_back():
    layer = layer_with_statistics()
    x = randn(8, 4, 12, 10)
    norm = layer.norm
    factor = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().view(-1, 1, 1, 1)
    scaled = layer.conv.weight.detach() * factor
    quantised = weight_by_torch(scaled, scaled.abs().flatten(1).max(dim=1).values / 127)
    y = functional.conv2d(x, quantised, None, (2, 1), 1, 1, 2) / factor.view(1, -1, 1, 1)
    y = functional.batch_norm(y, None, None, norm.weight, norm.bias, training=True)
    answer = layer(x, SCALE)
    torch.testing.assert_close(answer, by_torch(torch.relu(y), layer.output), atol=1e-5, rtol=1e-5)


def test_the_folded_weights_are_the_convolution_and_its_batch_norm():
    layer = layer_with_statistics()
    x = randn(8, 4, 12, 10)
    weight, bias = folded(layer.conv, layer.norm)
    expected = layer.norm.eval()(layer.conv(x))
    torch.testing.assert_close(functional.conv2d(x, weight, bias, (2, 1), 1, 1, 2), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_frozen_training_and_evaluation_differ_only_by_bias_rounding():
    layer = layer_with_statistics()
    x = (randn(8, 4, 12, 10) / SCALE).round() * SCALE
    layer(x, SCALE)
    layer.norm.running_mean.zero_()
    layer.norm.eval()
    layer.output.observing = False
    frozen = layer(x, SCALE)
    evaluated = layer.eval()(x, SCALE)
    differing = (frozen - evaluated).abs()
    assert float(differing.max()) <= float(layer.output.scale) * 1.001
    assert float((differing > 0).float().mean()) < 0.02


@pytest.mark.parametrize("case", ["conv", "linear"])
def test_evaluation_equals_torchs_layers_on_torchs_quantised_weights(case):
    torch.manual_seed(4)
    layer = QuantConv1x1(4, 6, stride=(2, 3)) if case == "conv" else QuantLinear(4, 6)
    x = randn(8, 4, 13, 10) if case == "conv" else randn(80, 4)
    layer(x, SCALE)
    layer.eval()
    inner = layer.conv if case == "conv" else layer.linear
    weight = weight_by_torch(inner.weight, weight_scale(inner.weight))
    step = weight_scale(inner.weight) * SCALE
    bias = (inner.bias / step).round() * step
    y = functional.conv2d(x, weight, bias, (2, 3)) if case == "conv" else functional.linear(x, weight, bias)
    torch.testing.assert_close(layer(x, SCALE), by_torch(y, layer.output))


def test_evaluation_follows_weights_statistics_and_scales_at_once():
    """Evaluation remembers what the layer stores; torch's batch norm writes its statistics without counting it."""
    layer, x, scale = ConvBn(nn.Conv2d(4, 6, 3, bias=False)), randn(3, 4, 9, 10), SCALE.clone()
    layer(x, scale)

    def new_statistics():
        with torch.no_grad():
            layer.train()(3 * x + 1, scale)

    def new_weights():
        torch.optim.SGD(layer.parameters(), lr=0.5).step()

    layer.train()(x, scale).square().sum().backward()
    before = layer.eval()(x, scale)
    for change in (new_weights, new_statistics, lambda: scale.mul_(1000), layer.norm.reset_running_stats):
        change()
        found, fresh = layer.eval()(x, scale), copy.deepcopy(layer)(x, scale)
        assert torch.equal(found, fresh) and not torch.equal(found, before)
        before = found


@pytest.mark.parametrize("channels", [3, 8, 12, 20])
@pytest.mark.parametrize("stride", [(2, 2), (1, 3)])
def test_a_projection_trains_at_any_width_and_equals_the_strided_convolution(channels, stride):
    # torch's own strided 1x1 convolution crashes the process here with 12 channels or fewer.
    layer = QuantConv1x1(channels, 8, stride=stride).to(memory_format=torch.channels_last)
    x = randn(16, channels, 64, 50).contiguous(memory_format=torch.channels_last).requires_grad_()
    layer(x, SCALE).sum().backward()
    assert layer.conv.weight.grad.isfinite().all() and x.grad.isfinite().all()
    strided = functional.conv2d(x.detach().contiguous(), layer.conv.weight, layer.conv.bias, stride)
    torch.testing.assert_close(layer.conv(every(x, stride)), strided)


def test_convolutions_pad_with_exact_zeros():
    layer = ConvBn(nn.Conv2d(1, 1, 3, padding=1, bias=False)).eval()
    with torch.no_grad():
        layer.conv.weight.fill_(1.0)
        layer.norm.running_var.fill_(1.0 - layer.norm.eps)
        layer.output.scale.fill_(1.0)
        layer.output.low.fill_(0.0)
        layer.output.high.fill_(255.0)
    answer = layer(torch.ones(1, 1, 3, 3), torch.tensor(1.0))
    assert answer[0, 0].tolist() == [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
