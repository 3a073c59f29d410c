"""The 8-bit grid of weights, with a scale for each output channel, and what is stored of a layer on it.

Weights are symmetric, steps -127..127. In training the gradient passes straight through.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asc.models.fused import kernels
from asc.models.layers import per_output

WEIGHT_STEPS = 127
BIAS_STEPS = 2**30
SMALLEST_SCALE = 2.0**-23


class _PassThrough(torch.autograd.Function):
    """Straight-through estimator: returns the second tensor, and passes the gradient to the first."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, replacement: Tensor) -> Tensor:
        return replacement

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def weight_scale(weight: Tensor) -> Tensor:
    """Per-channel scale (outputs,) of a weight (outputs, ...): the largest magnitude of a channel is 127 steps."""
    largest = weight.detach().abs().amax(dim=tuple(range(1, weight.dim())))
    return (largest / WEIGHT_STEPS).clamp_(min=SMALLEST_SCALE)


def fake_quantise_weight(weight: Tensor) -> Tensor:
    """Weights (outputs, ...) on the grid of `weight_scale`, same shape, with a straight-through gradient.

    The scale is computed from the weight each time, so it is always up to date and nothing is kept between calls.
    """
    on_grid: Tensor = _PassThrough.apply(weight, put_on_grid(weight).values)  # type: ignore[no-untyped-call]
    return on_grid


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightOnGrid:
    """A weight (outputs, ...) on its grid: int8 steps and float values of its shape, and a scale (outputs,)."""

    scale: Tensor
    steps: Tensor
    values: Tensor


def put_on_grid(weight: Tensor) -> WeightOnGrid:
    """A weight (outputs, ...) on the grid of `weight_scale`, without gradients.

    A compiled loop does it where there is one, with the same result: it is small, so calls of torch take longer.
    """
    compiled, given = kernels(), weight.detach()
    if compiled is not None and compiled.takes_values(given):
        scale, steps, values = compiled.weights_on_grid(given, WEIGHT_STEPS, SMALLEST_SCALE)
        return WeightOnGrid(scale=scale, steps=steps, values=values)
    scale = weight_scale(given)
    each = per_output(scale, given)
    nearest = torch.mul(given, each.reciprocal()).round_()
    steps = nearest.clamp(-WEIGHT_STEPS, WEIGHT_STEPS).to(torch.int8)
    return WeightOnGrid(scale=scale, steps=steps, values=nearest.mul_(each))


def rounded(weight: Tensor, scale: Tensor) -> Tensor:
    """The int8 steps of a weight (outputs, ...), same shape, given the scale (outputs,) of each channel."""
    steps = torch.mul(weight.detach(), per_output(scale.reciprocal(), weight)).round_()
    return steps.clamp_(-WEIGHT_STEPS, WEIGHT_STEPS).to(torch.int8)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredIntegers:
    """A layer's stored integers: int8 weight (outputs, ...), int32 bias (outputs,), float32 weight scale (outputs,).

    The bias has the scale weight scale x input scale, so that it is added to the accumulator unchanged.
    """

    weight: Tensor
    bias: Tensor
    weight_scale: Tensor

    def dequantised(self, input_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Float weight (outputs, ...) and bias (outputs,) of the same values, in the dtype of `input_scale`, ()."""
        weight = self.weight.to(input_scale.dtype) * per_output(self.weight_scale, self.weight)
        bias = self.bias.double() * self.weight_scale.double() * input_scale.double()
        return weight, bias.to(input_scale.dtype)


@torch.no_grad()
def store(weight: Tensor, bias: Tensor, input_scale: Tensor) -> StoredIntegers:
    """Round a layer's folded weight (outputs, ...) and bias (outputs,) to stored integers; `input_scale` is ().

    If a channel's weights are so small that its bias would not fit 32 bits, the channel's scale is made larger.
    """
    scale = torch.maximum(weight_scale(weight), bias.abs() / (input_scale * BIAS_STEPS))
    bias_steps = (bias.double() / (scale.double() * input_scale.double())).round_()
    return StoredIntegers(weight=rounded(weight, scale), bias=bias_steps.to(torch.int32), weight_scale=scale)
