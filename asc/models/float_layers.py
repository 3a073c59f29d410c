"""Layers without quantisation, for networks that are trained in 32 bits and stored in 16 (report, section 4, system 4).

They stand where those of `asc.models.fake_quantised` do and take the same arguments, so that the network is written
once.
"""

import torch
from torch import Tensor, nn

from asc.models.batch_norm import BatchNorm2d
from asc.models.fake_quantised import every


class NoGrid(nn.Module):
    """Stands where an activation quantiser would; values pass as they are."""

    scale: Tensor

    def __init__(self, *, nonnegative: bool = False) -> None:
        """`nonnegative` is a quantiser's argument; nothing is clamped here."""
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, as it is."""
        return x


class FloatConvBnRelu(nn.Module):
    """Convolution, batch norm and ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> None:
        """`kernel`, of odd sizes, and `stride` are (frequency, time)."""
        super().__init__()
        padding = kernel[0] // 2, kernel[1] // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = BatchNorm2d(outputs)
        self.output = NoGrid()

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """(batch, inputs, bins, frames) to (batch, outputs, ceil(bins / stride), ceil(frames / stride))."""
        y: Tensor = self.norm(self.conv(x))
        return torch.relu_(y)


class FloatConv1x1(nn.Module):
    """1x1 convolution with bias: the projection of a skip."""

    def __init__(self, inputs: int, outputs: int, *, stride: tuple[int, int]) -> None:
        """`stride` is (frequency, time)."""
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """Shapes as for `FloatConvBnRelu`."""
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
