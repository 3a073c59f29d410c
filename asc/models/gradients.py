"""Operations whose gradients torch lays out in another order than the maps; here they have the maps' own order.

Maps in training are channels_last. The gradients of a mean and of a strided view come as channels first, and wherever
they are added to others, that takes four times as long and makes the next gradient one of the wrong order too. The
results are torch's, to the last bit.
"""

from typing import Any

import torch
from torch import Tensor


def every(x: Tensor, stride: tuple[int, int]) -> Tensor:
    """`layers.every`: (batch, channels, bins, frames) to every `stride`-th bin and frame."""
    found: Tensor = _Every.apply(x, stride)  # type: ignore[no-untyped-call]
    return found


def mean_over_map(x: Tensor) -> Tensor:
    """The mean of each channel: (batch, channels, bins, frames) to (batch, channels).

    Its gradient takes no memory: torch repeats that of a sum without writing it out.
    """
    return x.sum(dim=(2, 3)) / (x.shape[2] * x.shape[3])


class _Every(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: tuple[int, int]) -> Tensor:
        last = x.is_contiguous(memory_format=torch.channels_last)
        ctx.layout = torch.channels_last if last else torch.contiguous_format
        ctx.shape, ctx.stride = x.shape, stride
        return x[:, :, :: stride[0], :: stride[1]]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].new_zeros(()).expand(ctx.shape).contiguous(memory_format=ctx.layout)
        gradient[:, :, :: ctx.stride[0], :: ctx.stride[1]] = gradients[0]
        return gradient, None
