"""Convolution of a map on a grid with weights that are put on theirs, in training: exact sums where that is faster.

Where the processor's integer units take the map (`integer_units.py`), the sums have no rounding error, and the backward
pass keeps the map's steps, a byte a value. Elsewhere torch convolves floats: the same up to rounding. Gradients are
torch's own of the convolution of these floats, and pass straight through the rounding of the weights.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.models.fused import EightBits, kernels
from asc.models.integer_units import IntegerConvolution, in_eight_bits
from asc.models.weight_grid import StoredIntegers, fake_quantise_weight, rounded, weight_scale


def convolve_on_grid(conv: nn.Conv2d, x: Tensor, input_scale: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(batch, inputs, bins, frames) to (batch, outputs, bins, frames), with the strides and groups of `conv`.

    x is on a grid of `input_scale`, (); `weight`, (outputs, inputs / groups, rows, columns), is rounded to its grid.
    """
    eight_bits = in_eight_bits(x.detach(), float(input_scale))
    if eight_bits is None:
        return convolve(conv, x, fake_quantise_weight(weight), bias)
    y: Tensor = _OfSteps.apply(x, weight, bias, eight_bits, conv)  # type: ignore[no-untyped-call]
    return y


class StoredConvolution:
    """The convolution that the integer form stores, for evaluation: its values do not change any more."""

    def __init__(self, conv: nn.Conv2d, stored: StoredIntegers, input_scale: Tensor) -> None:
        """Take strides and groups of `conv`, weight and bias of `stored`; the input is on a grid of `input_scale`."""
        self._conv, self._input_scale = conv, float(input_scale)
        self._weight, self._bias = stored.dequantised(input_scale)
        self._scale = stored.weight_scale * input_scale
        self._of_integers = IntegerConvolution(weight=stored.weight, shape=conv)

    def __call__(self, x: Tensor) -> Tensor:
        """(batch, inputs, bins, frames) to (batch, outputs, bins, frames)."""
        eight_bits = in_eight_bits(x.detach(), self._input_scale)
        if eight_bits is None:
            return convolve(self._conv, x, self._weight, self._bias)
        return self._of_integers(eight_bits, self._scale, self._bias)


def convolve(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x convolved with another weight and bias than the layer's own."""
    return functional.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


class _OfSteps(torch.autograd.Function):
    """The convolution of a map x that was put in 8 bits."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, eight_bits: EightBits, conv: nn.Conv2d
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.eight_bits, ctx.conv, ctx.biases = eight_bits, conv, None if bias is None else list(bias.shape)
        scale = weight_scale(weight)
        of_integers = IntegerConvolution(weight=rounded(weight, scale), shape=conv)
        return of_integers(eight_bits, scale * eight_bits.scale, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        compiled, (weight,) = kernels(), ctx.saved_tensors
        assert compiled is not None
        x, on_grid = compiled.values(ctx.eight_bits), fake_quantise_weight(weight.detach())
        conv, wanted = ctx.conv, ctx.needs_input_grad[:3]
        shape = conv.stride, conv.padding, conv.dilation, False, (0, 0), conv.groups
        found = torch.ops.aten.convolution_backward(gradients[0], x, on_grid, ctx.biases, *shape, wanted)
        return *found, None, None
