"""Convolutions of maps on a grid: values and gradients equal those of torch's convolution of the same floats."""

import pytest
import torch
from torch import Tensor, nn

from asc.models import grid_convolution
from asc.models.fused import kernels
from asc.models.grid_convolution import StoredConvolution, convolve, convolve_on_grid
from asc.models.weight_grid import fake_quantise_weight, put_on_grid, store

SCALE = torch.tensor(0.043)


def map_on_grid(channels: int, zero: int = 0) -> Tensor:
    steps = torch.randint(0, 256, (4, channels, 18, 29), generator=torch.Generator().manual_seed(1)) - zero
    return (steps * SCALE).contiguous(memory_format=torch.channels_last)


def conv_of(inputs: int, outputs: int, groups: int, stride: tuple[int, int]) -> nn.Conv2d:
    torch.manual_seed(2)
    return nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups, bias=False)


@pytest.fixture(params=["bfloat16", "float32", "no integers"])
def tolerance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Each way in turn, of those of this processor; the error that gradients may have, in parts of the largest."""
    monkeypatch.setattr(grid_convolution, "has_bfloat16", lambda: request.param == "bfloat16")
    if request.param == "no integers":
        monkeypatch.setattr(grid_convolution, "in_eight_bits", lambda *_: None)
    return 1e-2 if request.param == "bfloat16" else 1e-5


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("zero", [0, 100])
@pytest.mark.parametrize("groups", [1, 4, 24])
def test_values_and_gradients_equal_those_of_floats(groups: int, zero: int, with_bias: bool, tolerance: float) -> None:
    conv, x = conv_of(24, 48, groups, (2, 1)), map_on_grid(24, zero)
    bias = torch.randn(48) if with_bias else None
    given = [x, conv.weight.detach(), *([] if bias is None else [bias])]
    ours, theirs = ([one.clone().requires_grad_() for one in given] for _ in range(2))
    y = convolve_on_grid(conv, ours[0], SCALE, ours[1], ours[2] if with_bias else None)
    plain = convolve(conv, theirs[0], fake_quantise_weight(theirs[1]), theirs[2] if with_bias else None)
    torch.testing.assert_close(y, plain, rtol=1e-5, atol=1e-5)
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(3))
    y.backward(gradient)
    plain.backward(gradient)
    for one, other in zip(ours, theirs, strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=tolerance * float(other.grad.abs().max()))


@pytest.mark.parametrize(("gradients_of", "tolerance"), [("_in_float32", 1e-5), ("_in_bfloat16", 1e-2)])
@pytest.mark.parametrize("zero", [0, 100])
@pytest.mark.parametrize("groups", [1, 4])
def test_gradients_of_a_map_in_bytes_are_those_of_floats_on_any_processor(
    groups: int, zero: int, gradients_of: str, tolerance: float
) -> None:
    """The processor's integer units are needed for the forward pass alone."""
    compiled = kernels()
    if compiled is None:
        pytest.skip("no C compiler")
    conv, x = conv_of(24, 48, groups, (2, 1)), map_on_grid(24, zero).requires_grad_()
    plain = convolve(conv, x, fake_quantise_weight(conv.weight), None)
    gradient = torch.randn(plain.shape, generator=torch.Generator().manual_seed(3))
    expected = torch.autograd.grad(plain, (x, conv.weight), gradient)
    in_bytes = compiled.whole_steps(x.detach(), float(SCALE))
    assert in_bytes is not None and in_bytes.zero == zero
    on_grid = put_on_grid(conv.weight).values
    found = getattr(grid_convolution, gradients_of)(gradient, in_bytes, on_grid, conv, (True, True))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * float(other.abs().max()))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.usefixtures("tolerance")
def test_a_weight_that_is_no_finite_number_spoils_its_output_and_no_other(value: float) -> None:
    conv, x = conv_of(24, 48, 1, (1, 1)), map_on_grid(24)
    weight = conv.weight.detach().clone()
    weight[5, 3, 1, 1] = value
    y = convolve_on_grid(conv, x, SCALE, weight, None)
    others = [channel for channel in range(48) if channel != 5]
    assert not y[:, 5].isfinite().any() and y[:, others].isfinite().all()


@pytest.mark.usefixtures("tolerance")
def test_only_the_gradients_that_are_wanted_are_computed() -> None:
    conv, x = conv_of(24, 48, 1, (1, 1)), map_on_grid(24)
    conv.weight.requires_grad_(False)
    x.requires_grad_()
    convolve_on_grid(conv, x, SCALE, conv.weight, None).sum().backward()
    assert x.grad is not None and conv.weight.grad is None


@torch.no_grad()
@pytest.mark.usefixtures("tolerance")
def test_a_stored_convolution_equals_that_of_its_floats() -> None:
    conv, x = conv_of(24, 48, 4, (2, 2)), map_on_grid(24)
    stored = store(conv.weight, torch.randn(48), SCALE)
    expected = convolve(conv, x, *stored.dequantised(SCALE))
    torch.testing.assert_close(StoredConvolution(conv, stored, SCALE)(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("tolerance")
def test_in_evaluation_a_map_gets_its_gradient_too() -> None:
    conv, x = conv_of(24, 48, 1, (1, 1)), map_on_grid(24).requires_grad_()
    stored = StoredConvolution(conv, store(conv.weight.detach(), torch.zeros(48), SCALE), SCALE)
    stored(x).sum().backward()
    assert x.grad is not None and float(x.grad.abs().max()) > 0
