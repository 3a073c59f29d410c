"""Convolution of a map on a grid with weights that are put on theirs, in training: exact sums where that is faster.

Where the processor's integer units take the map (`integer_units.py`), the sums have no rounding error, and the backward
pass keeps the map's steps, a byte a value. Elsewhere torch convolves floats: the same up to rounding. Gradients pass
straight through the rounding of the weights. They are convolved in bfloat16 where the processor has units for it and
the map was in 8 bits. That rounds them to 8 significant bits: the gradient of a whole network changes by 0.5 %.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.models.fused import EightBits, kernels
from asc.models.integer_units import IntegerConvolution, has_bfloat16, in_eight_bits, takes_layer
from asc.models.weight_grid import StoredIntegers, fake_quantise_weight, put_on_grid

_WORTH_PRODUCTS = 48
"""Products for each output. The reference has 54 and more; CP-Mobile's depthwise layers have 9."""


def convolve_on_grid(conv: nn.Conv2d, x: Tensor, input_scale: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(batch, inputs, bins, frames) to (batch, outputs, bins, frames), with the strides and groups of `conv`.

    x is on a grid of `input_scale`, (); `weight`, (outputs, inputs / groups, rows, columns), is rounded to its grid.
    """
    eight_bits = in_eight_bits(x.detach(), input_scale) if _of_integers(conv, weight) else None
    if eight_bits is None:
        return convolve(conv, x, fake_quantise_weight(weight), bias)
    y: Tensor = _OfSteps.apply(x, weight, bias, eight_bits, conv)  # type: ignore[no-untyped-call]
    return y


class StoredConvolution:
    """The convolution that the integer form stores, for evaluation: its values do not change any more."""

    def __init__(self, conv: nn.Conv2d, stored: StoredIntegers, input_scale: Tensor) -> None:
        """Take strides and groups of `conv`, weight and bias of `stored`; the input is on a grid of `input_scale`."""
        self._conv, self._input_scale = conv, input_scale
        self._weight, self._bias = stored.dequantised(input_scale)
        self._scale = stored.weight_scale * input_scale
        self._integers = IntegerConvolution(weight=stored.weight, shape=conv)

    def __call__(self, x: Tensor) -> Tensor:
        """(batch, inputs, bins, frames) to (batch, outputs, bins, frames)."""
        wants_gradient = torch.is_grad_enabled() and x.requires_grad  # which integers would not pass on
        with_integers = not wants_gradient and _of_integers(self._conv, self._weight)
        eight_bits = in_eight_bits(x.detach(), self._input_scale) if with_integers else None
        if eight_bits is None:
            return convolve(self._conv, x, self._weight, self._bias)
        return self._integers(eight_bits, self._scale, self._bias)


def convolve(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x convolved with another weight and bias than the layer's own."""
    return functional.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _of_integers(conv: nn.Conv2d, weight: Tensor) -> bool:
    """Whether products of integers are exact here, and save more time than it takes to put the map in 8 bits and back.

    They save none in 1x1 convolutions of few channels and in depthwise ones, whose gradients are slower in bfloat16.
    """
    return weight[0].numel() >= _WORTH_PRODUCTS and takes_layer(weight, conv.groups)


class _OfSteps(torch.autograd.Function):
    """The convolution of a map x that was put in 8 bits."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, eight_bits: EightBits, conv: nn.Conv2d
    ) -> Tensor:
        on_grid = put_on_grid(weight)
        ctx.save_for_backward(on_grid.values)
        ctx.eight_bits, ctx.conv = eight_bits, conv
        of_integers = IntegerConvolution(weight=on_grid.steps, shape=conv)
        return of_integers(eight_bits, on_grid.scale * eight_bits.scale, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), conv, wanted = ctx.saved_tensors, ctx.conv, ctx.needs_input_grad[:3]
        gradients_of = _in_bfloat16 if has_bfloat16() else _in_float32
        x_gradient, weight_gradient = gradients_of(gradients[0], ctx.eight_bits, weight, conv, wanted[:2])
        bias_gradient = gradients[0].sum(dim=(0, 2, 3)) if wanted[2] else None
        return x_gradient, weight_gradient, bias_gradient, None, None


Gradients = tuple[Tensor | None, Tensor | None]
"""Those of x and of the weight, where they are wanted. Both functions are given the values of the weight's grid."""


def _in_float32(
    gradient: Tensor, x: EightBits, weight: Tensor, conv: nn.Conv2d, wanted: tuple[bool, bool]
) -> Gradients:
    compiled = kernels()
    assert compiled is not None
    return _backward(gradient, compiled.values(x), weight, conv, wanted)


def _in_bfloat16(
    gradient: Tensor, x: EightBits, weight: Tensor, conv: nn.Conv2d, wanted: tuple[bool, bool]
) -> Gradients:
    """The steps of x have 8 bits, so they are exact; gradient and weight are rounded to 8 significant bits."""
    steps = x.steps.to(torch.bfloat16)
    if x.zero != 0:
        steps -= x.zero
    of_x, of_weight = _backward(gradient.to(torch.bfloat16), steps, weight.to(torch.bfloat16), conv, wanted)
    return (
        None if of_x is None else of_x.float(),
        None if of_weight is None else of_weight.float() * x.scale,
    )


def _backward(gradient: Tensor, x: Tensor, weight: Tensor, conv: nn.Conv2d, wanted: tuple[bool, bool]) -> Gradients:
    shape = conv.stride, conv.padding, conv.dilation, False, (0, 0), conv.groups
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(gradient, x, weight, None, *shape, (*wanted, False))
    return of_x, of_weight
