"""Batch norm over the whole batch, even when the batch is divided among several workers.

Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167. With one worker this is torch's own batch norm, bit for bit.
torch's SyncBatchNorm does the same for several workers, but not on the CPU. The workers' means and variances are
combined as in Chan et al. 1979 (http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773/CS-TR-79-773.pdf, eq. 1.5), never
as a difference of squares.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.models.workers import ALONE, Workers


class BatchNorm1d(nn.BatchNorm1d):
    """torch's BatchNorm1d over the rows of all `workers`."""

    workers: Workers = ALONE

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels) to the same shape."""
        return _shared(self, x) if self.training and self.workers.count > 1 else super().forward(x)


class BatchNorm2d(nn.BatchNorm2d):
    """torch's BatchNorm2d over the rows of all `workers`."""

    workers: Workers = ALONE

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, bins, frames) to the same shape."""
        return _shared(self, x) if self.training and self.workers.count > 1 else super().forward(x)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """The number of values per channel, (), and each channel's mean and biased variance, (channels,)."""

    count: Tensor
    mean: Tensor
    variance: Tensor

    def row(self) -> Tensor:
        """All of them in one tensor, (1 + 2 x channels,)."""
        return torch.cat([self.count.reshape(1), self.mean, self.variance])


def moments_of_all(x: Tensor, workers: Workers) -> Moments:
    """Moments over all workers' values; `x` is this worker's part, (rows, channels, ...), with at least one row."""
    # Batch norm itself calls this. In channels_last it is twenty times faster than var_mean on a CPU.
    mean, variance = torch.ops.aten.batch_norm_update_stats(x, None, None, 0.0)
    own = Moments(count=mean.new_tensor(x.numel() // x.shape[1]), mean=mean, variance=variance)
    return combined(workers.gather(own.row()), x.dtype)


def combined(parts: Tensor, dtype: torch.dtype) -> Moments:
    """Moments over all parts, (parts, 1 + 2 x channels), each of which has a count, means and biased variances."""
    channels = parts.shape[1] // 2
    counts, means, variances = torch.split(parts.double(), [1, channels, channels], dim=1)
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    variance = (counts * (variances + (means - mean).square())).sum(0) / total
    return Moments(count=total.to(dtype), mean=mean.to(dtype), variance=variance.to(dtype))


def follow(norm: BatchNorm1d | BatchNorm2d, moments: Moments) -> None:
    """Update the running statistics of a batch norm as torch does, given the moments of a batch."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(moments.mean, norm.momentum)
    norm.running_var.lerp_(moments.variance * (moments.count / (moments.count - 1)), norm.momentum)


def _shared(norm: BatchNorm1d | BatchNorm2d, x: Tensor) -> Tensor:
    moments = moments_of_all(x.detach(), norm.workers)
    follow(norm, moments)
    y: Tensor = _Normalise.apply(x, norm.weight, norm.bias, moments, norm)  # type: ignore[no-untyped-call]
    return y


class _Normalise(torch.autograd.Function):
    """Batch norm of this worker's part x, with the moments of all workers' values."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, moments: Moments, norm: BatchNorm1d | BatchNorm2d
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.moments, ctx.eps, ctx.workers = moments, norm.eps, norm.workers
        return functional.batch_norm(x, moments.mean, moments.variance, weight, bias, eps=norm.eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of section 3 of the paper: for x, the terms through mean and variance sum over all workers.

        The gradients of weight and bias cover only this worker's rows, as DistributedDataParallel expects.
        """
        x, weight = ctx.saved_tensors
        mean, variance = ctx.moments.mean, ctx.moments.variance
        x_gradient, weight_gradient, bias_gradient = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = ctx.workers.sum(torch.stack([weight_gradient, bias_gradient]))
        slope, offset = sums * (weight * torch.rsqrt(variance + ctx.eps) / ctx.moments.count)
        x_gradient -= functional.batch_norm(x, mean, variance, slope, offset, eps=ctx.eps)
        return x_gradient, weight_gradient, bias_gradient, None, None
