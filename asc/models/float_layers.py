"""Layers without quantisation, for networks that are trained in 32 bits and stored in 16 (report, section 4, system 4).

They take the same arguments as the layers of `asc.models.fake_quantised`, so that one `Network` can be built of either.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.models.batch_norm import BatchNorm2d
from asc.models.gradients import every
from asc.models.layers import in_bands


class NoGrid(nn.Module):
    """Takes the place of an activation quantiser and returns values unchanged."""

    scale: Tensor

    def __init__(self, *, nonnegative: bool = False) -> None:
        """`nonnegative` is accepted as by a quantiser, but has no effect."""
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.0), persistent=False)

    def forward(self, x: Tensor, *, in_place: bool = False) -> Tensor:
        """Return x, of any shape, unchanged."""
        return x

    def on_grid(self, x: Tensor) -> Tensor:
        """Return x, of any shape, unchanged."""
        return x


class FloatConvBn(nn.Module):
    """Convolution, with `norm` batch norm, and with `relu` a ReLU."""

    def __init__(self, conv: nn.Conv2d, *, relu: bool = True, norm: bool = True) -> None:
        """`conv` has no bias."""
        super().__init__()
        self.conv = conv
        self.norm = BatchNorm2d(conv.out_channels) if norm else None
        self.output = NoGrid()
        self.relu = relu

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """(batch, inputs, bins, frames) to (batch, outputs, ceil(bins / stride), ceil(frames / stride))."""
        y: Tensor = self.conv(x)
        y = self.norm(y) if self.norm is not None else y
        return torch.relu_(y) if self.relu else y


class FloatSubSpectral(nn.Module):
    """Depthwise convolution and sub-spectral norm."""

    def __init__(self, channels: int, bands: int, *, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        """`kernel`, of odd sizes, and `stride` are (frequency, time)."""
        super().__init__()
        padding = kernel[0] // 2, kernel[1] // 2
        self.bands = bands
        self.conv = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False)
        self.norm = BatchNorm2d(channels * bands)
        self.output = NoGrid()

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """(batch, channels, bins, frames) to (batch, channels, ceil(bins / stride), ceil(frames / stride))."""
        y: Tensor = self.conv(x)
        return self.norm(in_bands(y, self.bands)).reshape(y.shape)  # type: ignore[no-any-return]


class FloatConv1x1(nn.Module):
    """1x1 convolution with bias: the projection of a skip."""

    def __init__(self, inputs: int, outputs: int, *, stride: tuple[int, int]) -> None:
        """`stride` is (frequency, time)."""
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """Shapes as for `FloatConvBn`."""
        y: Tensor = self.conv(every(x, self.stride))
        return y


class FloatLinear(nn.Module):
    """Linear layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Build the layer; its weights come from torch's global generator."""
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """(batch, inputs) to (batch, outputs)."""
        y: Tensor = self.linear(x)
        return y


class FloatMapLinear(nn.Module):
    """Linear layer with batch norm over a map, then the mean over bins and frames (`Dense` with `over_map`)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Build the layer; its weights come from torch's global generator."""
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.norm = BatchNorm2d(outputs)

    def forward(self, x: Tensor, grid: nn.Module) -> Tensor:
        """(batch, inputs, bins, frames) to (batch, outputs)."""
        y: Tensor = self.norm(functional.conv2d(x, self.linear.weight[:, :, None, None]))
        return y.mean(dim=(2, 3))
