"""Fake-quantised layers for training: values lie on an 8-bit grid, gradients pass straight through.

Jacob et al. 2017, https://arxiv.org/abs/1712.05877; report, section 3.1. Activations: per tensor, affine, steps 0..255.
Weights: per output channel, symmetric, steps -127..127. In eval mode a layer computes with exactly the weights and
biases that the integer form stores (`StoredIntegers`), so the two forms differ only in the rounding of float sums.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.models.activation_grid import ActivationQuantiser
from asc.models.batch_norm import BatchNorm2d
from asc.models.gradients import every
from asc.models.grid_convolution import StoredConvolution, convolve, convolve_on_grid
from asc.models.layers import affine, folded, in_bands
from asc.models.norm_on_grid import norm_on_grid
from asc.models.remembered import Remembered
from asc.models.weight_grid import StoredIntegers, fake_quantise_weight, rounded, store, weight_scale


class ConvBn(nn.Module):
    """Convolution, with `norm` batch norm, and with `relu` a ReLU, as one quantised layer.

    The stored weight and bias include the batch norm; without one, no bias is stored.

    In training the convolution's own weight is quantised. The grid of the folded weight, w gamma / sigma, is the same
    one scaled by |gamma| / sigma per channel. So the result equals that of torch's fused `ConvBnReLU2d`, which scales,
    quantises and divides back, but no division is needed (https://docs.pytorch.org/docs/stable/quantization.html).
    """

    def __init__(self, conv: nn.Conv2d, *, relu: bool = True, norm: bool = True) -> None:
        """`conv` has no bias."""
        super().__init__()
        self.conv = conv
        self.norm = BatchNorm2d(conv.out_channels) if norm else None
        self.output = ActivationQuantiser(nonnegative=relu)
        self._stored: Remembered[StoredConvolution] = Remembered()

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """(batch, inputs, bins, frames) to (batch, outputs, ceil(bins / stride), ceil(frames / stride)), on the grid.

        `input_scale`, (), is the scale of x's grid; it decides how the bias is rounded in eval mode.
        """
        if not self.training:
            read = self.conv.weight, *_state(self.norm), input_scale
            y = self._stored.get(lambda: StoredConvolution(self.conv, self.stored(input_scale), input_scale), *read)(x)
        elif self.norm is None:
            y = convolve_on_grid(self.conv, x, input_scale, self.conv.weight, None)
        elif self.norm.training:
            y = convolve_on_grid(self.conv, x, input_scale, self.conv.weight, None)
            return norm_on_grid(y, self.norm, self.output)
        else:
            y = convolve_on_grid(self.conv, x, input_scale, *folded(self.conv, self.norm))
        quantised: Tensor = self.output(y, in_place=True)
        return quantised

    def stored(self, input_scale: Tensor) -> StoredIntegers:
        """This layer's stored integers, given the step of its input's grid; without a norm the bias is zero."""
        if self.norm is None:
            return store(self.conv.weight, torch.zeros_like(self.conv.weight[:, 0, 0, 0]), input_scale)
        return store(*folded(self.conv, self.norm), input_scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBands:
    """What a sub-spectral layer stores: int8 weight (channels, 1, rows, columns), and floats (channels x bands,).

    An output is accumulator x input scale x `scale` + `shift`.
    """

    weight: Tensor
    scale: Tensor
    shift: Tensor


class SubSpectral(nn.Module):
    """Depthwise convolution and sub-spectral norm as one quantised layer.

    The norm is never folded into the weights, because they are the same for all bands.
    """

    def __init__(self, channels: int, bands: int, *, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        """`kernel`, of odd sizes, and `stride` are (frequency, time)."""
        super().__init__()
        padding = kernel[0] // 2, kernel[1] // 2
        self.bands = bands
        self.conv = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False)
        self.norm = BatchNorm2d(channels * bands)
        self.output = ActivationQuantiser()

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """(batch, channels, bins, frames) to (batch, channels, ceil(bins / stride), ceil(frames / stride)), on a grid.

        In every mode the weights are on the grid of `weight_scale`, as they are stored.
        """
        y = convolve_on_grid(self.conv, x, input_scale, self.conv.weight, None)
        quantised: Tensor = self.output(self.norm(in_bands(y, self.bands)).reshape(y.shape))
        return quantised

    def stored(self) -> StoredBands:
        """What is stored of this layer."""
        step = weight_scale(self.conv.weight)
        scale, shift = affine(self.norm)
        scale = scale.view(len(step), -1) * step[:, None]
        return StoredBands(weight=rounded(self.conv.weight, step), scale=scale.flatten(), shift=shift)


class QuantConv1x1(nn.Module):
    """Quantised 1x1 convolution with bias, without batch norm or ReLU: the projection of a skip."""

    def __init__(self, inputs: int, outputs: int, *, stride: tuple[int, int]) -> None:
        """`stride` is (frequency, time)."""
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(inputs, outputs, 1)
        self.output = ActivationQuantiser()

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """Shapes and `input_scale` as for `ConvBn`."""
        x = every(x, self.stride)
        if self.training:
            y = convolve(self.conv, x, fake_quantise_weight(self.conv.weight), self.conv.bias)
        else:
            weight, bias = self.stored(input_scale).dequantised(input_scale)
            y = convolve(self.conv, x, weight, bias)
        quantised: Tensor = self.output(y, in_place=True)
        return quantised

    def stored(self, input_scale: Tensor) -> StoredIntegers:
        """This layer's stored integers, given the step of its input's grid."""
        assert self.conv.bias is not None
        return store(self.conv.weight, self.conv.bias, input_scale)


class QuantLinear(nn.Module):
    """Quantised linear layer whose output is quantised too (report, section 3.1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Build the layer; its weights come from torch's global generator."""
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.output = ActivationQuantiser()

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """(batch, inputs) to (batch, outputs), on the grid; `input_scale` as for `ConvBn`."""
        if self.training:
            y = functional.linear(x, fake_quantise_weight(self.linear.weight), self.linear.bias)
        else:
            y = functional.linear(x, *self.stored(input_scale).dequantised(input_scale))
        quantised: Tensor = self.output(y)
        return quantised

    def stored(self, input_scale: Tensor) -> StoredIntegers:
        """This layer's stored integers, given the step of its input's grid."""
        return store(self.linear.weight, self.linear.bias, input_scale)


class QuantMapLinear(nn.Module):
    """Quantised linear layer over a map that is pooled after it (`Dense` with `over_map`).

    Batch norm sees the whole map. Everything after that is linear, so the pooled map, on its grid, gives the output.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        """Build the layer; its weights come from torch's global generator."""
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.norm = BatchNorm2d(outputs)
        self.output = ActivationQuantiser()

    def forward(self, x: Tensor, grid: ActivationQuantiser) -> Tensor:
        """(batch, inputs, bins, frames) to (batch, outputs), on the grid; `grid` is that of the pooled map."""
        exact = x.mean(dim=(2, 3))
        pooled = grid(exact)
        if self.norm.training:
            weight = fake_quantise_weight(self.linear.weight)
            mean = self.norm(functional.conv2d(x, weight[:, :, None, None])).mean(dim=(2, 3))
            rounding = functional.linear(pooled - exact, folded(self.linear, self.norm)[0])
            y = mean + rounding.detach()
        elif self.training:
            weight, bias = folded(self.linear, self.norm)
            y = functional.linear(pooled, fake_quantise_weight(weight), bias)
        else:
            y = functional.linear(pooled, *self.stored(grid.scale).dequantised(grid.scale))
        quantised: Tensor = self.output(y)
        return quantised

    def stored(self, input_scale: Tensor) -> StoredIntegers:
        """This layer's stored integers, given the scale () of the grid of the pooled map."""
        return store(*folded(self.linear, self.norm), input_scale)


def _state(norm: BatchNorm2d | None) -> tuple[Tensor, ...]:
    """What a batch norm does depends on. Its counter tells of new statistics, which torch writes without counting."""
    if norm is None:
        return ()
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    return norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.num_batches_tracked
