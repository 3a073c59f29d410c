"""Gradients have torch's values, and the layout of their maps."""

import pytest
import torch

from asc.models import gradients, layers


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: gradients.every(x, (2, 3)), lambda x: layers.every(x, (2, 3))),
        (lambda x: gradients.every(x, (1, 1)), lambda x: layers.every(x, (1, 1))),
        (gradients.mean_over_map, layers.mean_of_map),
    ],
    ids=["strided", "whole", "mean"],
)
def test_values_and_gradients_are_torchs_to_the_last_bit(ours, theirs, layout: torch.memory_format) -> None:
    x = torch.randn(3, 5, 8, 13, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    found = []
    for function in (ours, theirs):
        map_ = x.clone().requires_grad_()
        y = function(map_)
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        total = (y * weights).sum() + (map_ * x).sum()
        total.backward()
        assert map_.grad is not None
        found.append((y.detach(), map_.grad))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


def test_the_gradient_of_a_strided_map_is_laid_out_like_the_map() -> None:
    x = torch.randn(3, 5, 8, 13).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = gradients.every(x, (2, 2))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
