"""The grid of weights against torch's own operator."""

import pytest
import torch
from weights_by_torch import weight_by_torch

import asc.models.weight_grid
from asc.models.weight_grid import fake_quantise_weight, put_on_grid, store, weight_scale


@pytest.mark.parametrize("shape", [(6, 3, 3, 3), (6, 5)])
def test_weights_equal_torchs_operator_and_pass_the_gradient(shape: tuple[int, ...]) -> None:
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scale = weight_scale(weight)
    torch.testing.assert_close(scale, weight.detach().abs().flatten(1).max(dim=1).values / 127)
    torch.testing.assert_close(fake_quantise_weight(weight), weight_by_torch(weight, scale))
    fake_quantise_weight(weight).mul(3).sum().backward()
    assert weight.grad is not None and torch.equal(weight.grad, torch.full(shape, 3.0))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("scale", [1.0, 1e-9, float("nan")])
def test_a_compiled_loop_gives_what_torch_does_to_the_last_bit(
    layout: torch.memory_format, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = torch.randn(24, 6, 3, 3, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    weight[3], weight[5, 1, 2, 0] = 0.0, scale
    ours = put_on_grid(weight)
    monkeypatch.setattr(asc.models.weight_grid, "kernels", lambda: None)
    theirs = put_on_grid(weight)
    torch.testing.assert_close(ours.scale, theirs.scale, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(ours.values, theirs.values, rtol=0, atol=0, equal_nan=True)
    numbers = ~theirs.values.isnan()
    assert torch.equal(ours.steps[numbers], theirs.steps[numbers])
    assert ours.values.stride() == weight.stride()


def test_a_bias_far_larger_than_its_weights_fits_32_bits() -> None:
    weight = torch.tensor([[1e-9, 2e-9], [0.0, 0.0], [0.5, -0.25]])
    bias = torch.tensor([30.0, -200.0, 0.1])
    stored = store(weight, bias, torch.tensor(1e-3))
    _, back = stored.dequantised(torch.tensor(1e-3))
    torch.testing.assert_close(back, bias, rtol=1e-6, atol=1e-4)
    assert stored.weight.dtype == torch.int8 and stored.bias.dtype == torch.int32
    assert stored.weight[2].tolist() == [127, -64]
