"""The grid of weights against torch's own operator."""

import pytest
import torch
from weights_by_torch import weight_by_torch

from asc.models.weight_grid import fake_quantise_weight, store, weight_scale


@pytest.mark.parametrize("shape", [(6, 3, 3, 3), (6, 5)])
def test_weights_equal_torchs_operator_and_pass_the_gradient(shape: tuple[int, ...]) -> None:
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scale = weight_scale(weight)
    torch.testing.assert_close(scale, weight.detach().abs().flatten(1).max(dim=1).values / 127)
    torch.testing.assert_close(fake_quantise_weight(weight), weight_by_torch(weight, scale))
    fake_quantise_weight(weight).mul(3).sum().backward()
    assert weight.grad is not None and torch.equal(weight.grad, torch.full(shape, 3.0))


def test_a_bias_far_larger_than_its_weights_fits_32_bits() -> None:
    weight = torch.tensor([[1e-9, 2e-9], [0.0, 0.0], [0.5, -0.25]])
    bias = torch.tensor([30.0, -200.0, 0.1])
    stored = store(weight, bias, torch.tensor(1e-3))
    _, back = stored.dequantised(torch.tensor(1e-3))
    torch.testing.assert_close(back, bias, rtol=1e-6, atol=1e-4)
    assert stored.weight.dtype == torch.int8 and stored.bias.dtype == torch.int32
    assert stored.weight[2].tolist() == [127, -64]
