"""Layers that run in float in the graphs for ExecuTorch and LiteRT, whatever the network's storage.

Means over a whole map are written as pooling, because LiteRT's converter transposes a map before `mean`.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.models.layered import Parameterless, parameterless
from asc.models.layers import ResidualNorm, ResponseNorm, over_bands
from asc.topology import layers as kinds

Converter = Literal["executorch", "litert"]
CONVERTERS: tuple[Converter, ...] = ("executorch", "litert")


class SubSpectral(nn.Module):
    """A depthwise convolution whose outputs get a factor and an offset for each channel and band, in float."""

    weight: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, layer: kinds.SubSpectralConv, stored: nn.Module, *, bins: int) -> None:
        """Take the stored numbers of this layer; `bins` is the number of bins of its output."""
        super().__init__()
        state, self._stride, self._padding, self._bins = stored.state_dict(), layer.stride, layer.padding, bins
        self.register_buffer("weight", state["weight"].float())
        self.register_buffer("scale", _by_band(state["band_scale"], layer, bins))
        self.register_buffer("shift", _by_band(state["band_shift"], layer, bins))

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (batch, channels, bins, frames) to float32 of the strided shape."""
        sums = functional.conv2d(x, self.weight, None, self._stride, self._padding, 1, len(self.weight))
        return sums * _over_bins(self.scale, self._bins) + _over_bins(self.shift, self._bins)


def _by_band(values: Tensor, layer: kinds.SubSpectralConv, bins: int) -> Tensor:
    """Return values (channels x bands,) as (1, channels, bands, 1), or over all bins where `_over_bins` is not exact.

    It rounds a quotient, which is wrong for some bands of 41 bins, 47 and other unusual numbers.
    """
    by_band, by_bin = values.view(1, layer.channels, layer.bands, 1), over_bands(values, layer.channels, bins)
    return by_band if torch.equal(_over_bins(by_band, bins), by_bin) else by_bin


def _over_bins(values: Tensor, bins: int) -> Tensor:
    """Repeat (1, channels, bands, 1) to (1, channels, bins, 1).

    LiteRT's converter keeps this operator. It folds `repeat_interleave` into a constant of all bins, which made the
    file of a BC-ResNet of 113 KB larger by 190 KB.
    """
    if values.shape[2] == bins:
        return values
    return functional.interpolate(values, size=(bins, 1), mode="nearest")


class DynamicMaxPool(nn.Module):
    """The maximum over windows side by side, for any number of frames.

    The last window may be cut. torch's own `ceil_mode` cannot be exported with dynamic time: it asks for multiples of
    the window. Padding by one less than a window, whose last part no window may reach, gives the same.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """`size` is that of a window, (frequency, time)."""
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, bins, frames) to (batch, channels, ceil(bins / size), ceil(frames / size))."""
        rows, columns = self.size
        lowest = torch.finfo(torch.float32).min
        return functional.max_pool2d(functional.pad(x, (0, columns - 1, 0, rows - 1), value=lowest), self.size)


class PooledFrequencyMean(nn.Module):
    """The mean over bins, written as pooling: XNNPACK has no mean over one axis, and ExecuTorch's own is slow."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, bins, frames) to (batch, channels, 1, frames)."""
        return functional.avg_pool2d(x, (x.shape[2], 1))


def parameterless_for(layer: Parameterless, converter: Converter) -> nn.Module:
    """Return the module of a layer that has no numbers, as this converter needs it: ExecuTorch's time is dynamic."""
    if converter == "executorch":
        match layer:
            case kinds.MaxPool():
                return DynamicMaxPool(layer.stride)
            case kinds.FrequencyMean():
                return PooledFrequencyMean()
            case _:
                pass
    return parameterless(layer)


class Response(nn.Module):
    """Global response normalisation in float; as in `Gate`, means over the map are written as pooling."""

    def __init__(self, stored: ResponseNorm) -> None:
        """Copy the stored values as plain numbers."""
        super().__init__()
        self.weight, self.bias = float(stored.weight), float(stored.bias)

    def forward(self, x: Tensor, again: Tensor) -> Tensor:
        """Map (batch, channels, bins, frames) float32, given twice, to the same shape, not negative."""
        norms = torch.sqrt(functional.adaptive_avg_pool2d(again * again, 1) + ResponseNorm.SMALLEST)
        relative = norms / (norms.mean(dim=1, keepdim=True) + ResponseNorm.OFFSET)
        return torch.relu(x * (relative * self.weight + 1.0) + self.bias)


class Residual(nn.Module):
    """Residual normalisation in float.

    For ExecuTorch the map is turned, so that means are over the last two axes: XNNPACK has no others. On a BC-ResNet
    this took 6 ms instead of 61 for 10 s of audio.
    """

    def __init__(self, stored: ResidualNorm, *, converter: Converter) -> None:
        """Copy the factor of the shortcut."""
        super().__init__()
        self.shortcut, self._turned = stored.shortcut, converter == "executorch"

    def forward(self, x: Tensor, again: Tensor) -> Tensor:
        """Map (batch, channels, bins, frames) float32, given twice, to the same shape."""
        if self._turned:
            return x * self.shortcut + _normalised(again.permute(0, 2, 1, 3), (2, 3)).permute(0, 2, 1, 3)
        return x * self.shortcut + _normalised(again, (1, 3))


def _normalised(x: Tensor, axes: tuple[int, int]) -> Tensor:
    from_mean = x - x.mean(dim=axes, keepdim=True)
    variance = (from_mean * from_mean).mean(dim=axes, keepdim=True)
    return from_mean * torch.rsqrt(variance + ResidualNorm.SMALLEST)
