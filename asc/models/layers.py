"""The float parts of the network, shared by training and the stored forms."""

from collections.abc import Callable
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.models.gradients import mean_over_map
from asc.topology import layers as kinds

Pooling = Callable[[Tensor], Tensor]

STEPS = 255  # of an 8-bit activation grid


def mean_of_map(x: Tensor) -> Tensor:
    """The mean of each channel of a map, (batch, channels, bins, frames) to (batch, channels)."""
    return x.mean(dim=(2, 3))


def mean_square_of_map(x: Tensor) -> Tensor:
    """The mean square of each channel of a map, (batch, channels, bins, frames) to (batch, channels)."""
    return x.square().mean(dim=(2, 3))


class BandNorm(nn.Module):
    """Standardises the bands of a log-mel map with a stored mean and standard deviation of each."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, bins: int) -> None:
        """Begin without effect: means of 0 and deviations of 1."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(bins))
        self.register_buffer("deviation", torch.ones(bins))

    def forward(self, log_mel: Tensor) -> Tensor:
        """(batch, 1, bins, frames) to the same shape."""
        return (log_mel - self.mean[:, None]) / self.deviation[:, None]


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from its mean (Hu et al. 2017, https://arxiv.org/abs/1709.01507).

    As in the report's figure 3: with biases, and a batch norm on the bottleneck after the ReLU.
    """

    def __init__(self, channels: int, bottleneck: int, *, norm: nn.Module) -> None:
        """`norm` is a trainable or a stored batch norm over (batch, bottleneck)."""
        super().__init__()
        self.reduce = nn.Linear(channels, bottleneck)
        self.norm = norm
        self.expand = nn.Linear(bottleneck, channels)

    def forward(self, x: Tensor, pooling: Pooling = mean_over_map) -> Tensor:
        """(batch, channels, bins, frames) to the same shape, in float.

        `pooling` gives the gates their means (batch, channels): those of x, or of a longer sound that x is a part of.
        """
        gate = torch.sigmoid(self.expand(self.norm(torch.relu(self.reduce(pooling(x))))))
        return x * gate[:, :, None, None]


def folded_expand(se: SqueezeExcite) -> tuple[Tensor, Tensor]:
    """Weight (channels, bottleneck) and bias (channels,) of SE's second layer, with the stored norm folded into them.

    norm(r) = r f + (b - m f) with f = w / sqrt(v + eps), so E norm(r) + c = (E f) r + (E (b - m f) + c).
    """
    norm = se.norm
    assert isinstance(norm, StoredNorm)
    factor = norm.weight.double() * torch.rsqrt(norm.running_var.double() + nn.BatchNorm1d(1).eps)
    weight = se.expand.weight.double()
    offset = weight @ (norm.bias.double() - norm.running_mean.double() * factor)
    return (weight * factor).float(), (offset + se.expand.bias).float()


class StoredNorm(nn.Module):
    """The batch norm of an SE bottleneck as stored: four vectors (channels,), no counter."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        """Build the buffers; their values come from a state_dict."""
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels) to the same shape."""
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


def per_output(values: Tensor, weight: Tensor) -> Tensor:
    """One value for each output channel, (outputs,), in a shape that multiplies a weight (outputs, ...)."""
    return values.view(-1, *[1] * (weight.dim() - 1))


def folded(layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight (shape of the layer's) and bias (outputs,) with the batch norm's running statistics folded in."""
    factor, bias = affine(norm)
    return layer.weight * per_output(factor, layer.weight), bias


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Factor and offset, both (channels,), that a batch norm applies with its running statistics."""
    assert norm.running_var is not None and norm.running_mean is not None
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return factor, norm.bias - norm.running_mean * factor


class ResponseNorm(nn.Module):
    """Global response normalisation, then ReLU (Woo et al. 2023, https://arxiv.org/abs/2301.00808).

    Norms are root mean squares, so they do not depend on the length of the clip; only the ratio of norms counts.
    """

    SMALLEST = 1e-12
    """Added to mean squares, so that a channel that is zero has a gradient."""
    OFFSET = 1e-6
    """Added to the mean of the norms."""

    def __init__(self) -> None:
        """Begin as a ReLU: weight and bias are zero."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, pooling: Pooling = mean_square_of_map) -> Tensor:
        """(batch, channels, bins, frames) to the same shape, in float.

        `pooling` gives the mean squares (batch, channels): those of x, or of a longer sound that x is a part of.
        """
        norms = torch.sqrt(pooling(x) + self.SMALLEST)
        relative = norms / (norms.mean(dim=1, keepdim=True) + self.OFFSET)
        return torch.relu(x * (1 + self.weight * relative)[:, :, None, None] + self.bias)


def moments_of_bins(x: Tensor) -> Tensor:
    """Mean and variance of each bin over channels and frames: (batch, channels, bins, frames) to (batch, 2, bins)."""
    mean = x.mean(dim=(1, 3), keepdim=True)
    return torch.stack([mean[:, 0, :, 0], (x - mean).square().mean(dim=(1, 3))], dim=1)


class ResidualNorm(nn.Module):
    """Residual normalisation: a fixed part of a map, added to the map normalised per clip and bin; no weights.

    Kim et al. 2021, https://arxiv.org/abs/2111.06531, section 3.2. Microphones differ in how they colour frequencies.
    The normalised map has little of that left; the shortcut keeps what else it said.
    """

    SMALLEST = 1e-5
    """Added to variances."""

    def __init__(self, shortcut: float) -> None:
        """`shortcut` is the factor of the map as it is, lambda in the paper."""
        super().__init__()
        self.shortcut = shortcut

    def forward(self, x: Tensor, pooling: Pooling = moments_of_bins) -> Tensor:
        """(batch, channels, bins, frames) to the same shape, in float.

        `pooling` gives means and variances (batch, 2, bins): those of x, or of a longer sound that x is a part of.
        """
        mean, variance = pooling(x)[:, :, None, :, None].unbind(1)
        return x * self.shortcut + (x - mean) * torch.rsqrt(variance + self.SMALLEST)


def gate_module(gate: kinds.Gate, norm: Callable[[int], nn.Module]) -> nn.Module:
    """The module of a gate; `norm` builds the batch norm of an SE bottleneck, given its width."""
    match gate:
        case kinds.SqueezeExcite(channels=channels, bottleneck=bottleneck):
            return SqueezeExcite(channels, bottleneck, norm=norm(bottleneck))
        case kinds.ResponseNorm():
            return ResponseNorm()
        case kinds.ResidualNorm(shortcut=shortcut):
            return ResidualNorm(shortcut)
        case _:
            assert_never(gate)


class AveragePool(nn.Module):
    """The mean over windows of 3 x 3 values, zero padding included."""

    def __init__(self, stride: tuple[int, int]) -> None:
        """`stride` is (frequency, time)."""
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, bins, frames) to (batch, channels, ceil(bins / stride), ceil(frames / stride))."""
        return functional.avg_pool2d(x, 3, self.stride, 1)


def sum_of(maps: tuple[Tensor, ...], *, relu: bool) -> Tensor:
    """The sum of maps from first to last, with or without ReLU; all but the first may have one bin, added to each."""
    total = maps[0]
    for more in maps[1:]:
        total = total + more
    return torch.relu(total) if relu else total


def in_bands(x: Tensor, bands: int) -> Tensor:
    """(batch, channels, bins, frames) to (batch, channels x bands, bins / bands, frames): bands become channels."""
    batch, channels, bins, frames = x.shape
    return x.reshape(batch, channels * bands, bins // bands, frames)


def over_bands(values: Tensor, channels: int, bins: int) -> Tensor:
    """A value per channel and band, (channels x bands,), to one per channel and bin, (1, channels, bins, 1)."""
    per_band = values.view(channels, -1)
    return per_band.repeat_interleave(bins // per_band.shape[1], dim=1)[None, :, :, None]


class MaxPool(nn.Module):
    """The maximum over windows side by side."""

    def __init__(self, size: tuple[int, int]) -> None:
        """`size` is that of a window, (frequency, time)."""
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, bins, frames) to (batch, channels, ceil(bins / size), ceil(frames / size))."""
        return functional.max_pool2d(x, self.size, ceil_mode=True)


class FrequencyMean(nn.Module):
    """The mean over bins."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, bins, frames) to (batch, channels, 1, frames)."""
        return x.mean(dim=2, keepdim=True)


class MeanPool(nn.Module):
    """The mean over bins and frames."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, bins, frames) to (batch, channels)."""
        return mean_of_map(x)


class StatisticsPool(nn.Module):
    """Mean and standard deviation over time (report, section 2.3), which makes clips of any length possible."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, bins, frames) to (batch, 2 x channels x bins): all means, then all deviations.

        It takes two passes instead of a difference of squares, so that long clips lose no precision.
        """
        mean = x.mean(dim=3, keepdim=True)
        return pooled_statistics(mean, (x - mean).square().mean(dim=3))


def pooled_statistics(mean: Tensor, variance: Tensor) -> Tensor:
    """The output of `StatisticsPool`, given the mean and variance over time.

    Means may be (batch, channels, bins) or have a last dimension of 1; variances are (batch, channels, bins).
    """
    deviation = torch.sqrt(variance + 1e-5)
    return torch.cat([mean.flatten(1), deviation.flatten(1)], dim=1)


def channels_last(x: Tensor) -> Tensor:
    """A one-channel map (batch, 1, bins, frames) with its strides set so that convolutions return channels_last.

    With one channel, both layouts are the same in memory, and torch takes such a tensor for NCHW. The forward and
    backward passes of the stem's convolution then take four times as long on a CPU.
    """
    batch, channels, bins, frames = x.shape
    return x.contiguous().as_strided((batch, channels, bins, frames), (bins * frames, 1, frames, 1))


def every(x: Tensor, stride: tuple[int, int]) -> Tensor:
    """The values of a map (batch, channels, bins, frames) that a strided 1x1 convolution reads.

    The weight gradient of torch's own strided 1x1 convolution writes out of bounds and kills the process (2.13, CPU,
    channels_last, fewer than 16 inputs). Taking the stride first avoids this and gives the same result.
    """
    return x[:, :, :: stride[0], :: stride[1]]
