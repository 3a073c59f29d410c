"""Batch norm and activation grid of a convolution's output in one autograd function, over compiled loops.

It reads the map twice in the forward pass and twice in the backward pass. Between them only the map itself is kept:
what was clamped is computed again. The gradients are those of Ioffe and Szegedy 2015, section 3
(https://arxiv.org/abs/1502.03167), of values that were not clamped. Where the loops cannot be had, or do not take the
map, batch norm and grid are computed one after the other, with the same results up to rounding.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asc.models.activation_grid import ActivationQuantiser
from asc.models.batch_norm import BatchNorm2d, combined
from asc.models.fused import Kernels, Normalisation, Steps, kernels
from asc.models.workers import Workers


def norm_on_grid(x: Tensor, norm: BatchNorm2d, output: ActivationQuantiser) -> Tensor:
    """Batch norm in training mode, then `output`: (batch, channels, bins, frames) to the same shape.

    Raises:
        RuntimeError: the range of `output` is frozen, and there is none yet.
    """
    compiled = kernels()
    if compiled is None or not compiled.takes(x):
        on_grid: Tensor = output(norm(x), in_place=True)
        return on_grid
    parts, ends = compiled.moments(x)
    if norm.workers.count > 1:
        parts = norm.workers.gather(combined(parts, x.dtype).row()).double()
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    applied = compiled.normalisation(parts, ends, norm)
    if output.follows:
        output.follow(*output.range_of_all(applied.low, applied.high))
    else:
        output.require_range()
    arguments = _Arguments(
        kernels=compiled,
        applied=applied,
        count=float(parts[:, 0].sum()),
        steps=output.steps(applied.factor, applied.offset),
        workers=norm.workers,
    )
    y: Tensor = _NormOnGrid.apply(x, norm.weight, norm.bias, arguments)  # type: ignore[no-untyped-call]
    return y


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arguments:
    """What the function needs beside tensors that have gradients; `count` is that of all workers' values a channel."""

    kernels: Kernels
    applied: Normalisation
    count: float
    steps: Steps
    workers: Workers


class _NormOnGrid(torch.autograd.Function):
    """x normalised with the moments of all workers' values, on the grid."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, arguments: _Arguments) -> Tensor:
        ctx.save_for_backward(x)
        ctx.arguments = arguments
        return arguments.kernels.on_grid(x, arguments.steps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """The gradients of weight and bias cover only this worker's rows, as DistributedDataParallel expects."""
        (x,), its = ctx.saved_tensors, ctx.arguments
        given = gradients[0].contiguous(memory_format=torch.channels_last)
        mean, inverse, factor = its.applied.mean, its.applied.inverse, its.applied.factor
        bias_gradient, products = its.kernels.gradient_sums(given, x, its.steps, mean)
        weight_gradient = products * inverse
        of_all = its.workers.sum(torch.stack([weight_gradient, bias_gradient])) * (factor / its.count)
        slope, constant = of_all[0] * inverse, of_all[1]
        x_gradient = its.kernels.gradient_of_x(given, x, its.steps, mean, factor, slope, constant)
        return x_gradient, weight_gradient, bias_gradient, None
