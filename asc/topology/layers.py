"""The kinds of layers: their names, their sizes, and the layers that each one reads.

A layer's `name` is the prefix of its tensors in a state_dict; `reads` names the layers whose outputs it takes. In 8
bits the output of every layer but a `BandNorm` lies on a quantisation grid, whose scale and zero point are stored under
`grid`. Maps
have the shape (channels, bins, frames), vectors (values,). A reader is an exhaustive `match` over `Layer`, which mypy
checks: add a new kind here, and mypy lists the readers that must handle it.
"""

from dataclasses import dataclass
from typing import Protocol

LOG_MEL = "log_mel"
"""The input of the first layer: the log-mel map (1, bins, frames), float."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class _GridOfItsName:
    """The output's grid is stored under the layer's own name."""

    __slots__ = ()

    @property
    def grid(self: _Named) -> str:
        """Where the grid of the output is stored."""
        return self.name


class _GridWithin:
    """The output's grid is stored inside the layer."""

    __slots__ = ()

    @property
    def grid(self: _Named) -> str:
        """Where the grid of the output is stored."""
        return f"{self.name}.output"


class _GridBeside:
    """The output's grid is stored next to the layer, because the layer has a module of its own without a grid."""

    __slots__ = ()

    @property
    def grid(self: _Named) -> str:
        """Where the grid of the output is stored."""
        return f"{self.name}_output"


@dataclass(frozen=True, slots=True, kw_only=True)
class BandNorm:
    """Standardises each of `bins` bands in float: minus the mean, divided by the standard deviation.

    Both are measured on the training clips before training (`front_end.normalisation = "per_band"`). It reads the
    log-mel, so there is no grid before it, and none after it: that is the next layer, the `Input`.
    """

    name: str
    bins: int
    reads: tuple[str, ...] = (LOG_MEL,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input(_GridOfItsName):
    """Puts the log-mel map on a grid; in float it does nothing."""

    name: str
    reads: tuple[str, ...] = (LOG_MEL,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNorm(_GridWithin):
    """Convolution, batch norm and, with `relu`, a ReLU; `kernel`, `stride` and `dilation` are (bins, frames).

    Kernels are odd, with zero padding of half their size. Output sizes round up: ceil(bins / stride). Without
    `pads_bins` there is no padding in frequency, so `kernel[0] - 1` bins are lost. Without `norm` there is neither a
    batch norm nor a bias.
    """

    name: str
    reads: tuple[str, ...]
    inputs: int
    outputs: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    groups: int = 1
    relu: bool = True
    dilation: tuple[int, int] = (1, 1)
    pads_bins: bool = True
    norm: bool = True

    @property
    def weights(self) -> int:
        """Number of weights: outputs x (inputs / groups) x rows x columns."""
        return self.kernel[0] * self.kernel[1] * self.inputs // self.groups * self.outputs

    @property
    def padding(self) -> tuple[int, int]:
        """Zero padding (bins, frames) on each side."""
        rows, columns = (d * (k // 2) for d, k in zip(self.dilation, self.kernel, strict=True))
        return rows if self.pads_bins else 0, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class SubSpectralConv(_GridWithin):
    """Depthwise convolution and sub-spectral norm: a batch norm for each of `bands` equal bands of bins; no ReLU.

    The norm cannot be folded into the weights, which all bands share. The stored forms hold a factor and an offset for
    each channel and band. In 8 bits these turn the integer sums of the convolution into values on the output's grid:
    a requantisation that differs between bands. `kernel` and `stride` as for `ConvNorm`. Chang et al. 2021,
    https://arxiv.org/abs/2103.13620.
    """

    name: str
    reads: tuple[str, ...]
    channels: int
    bands: int
    kernel: tuple[int, int] = (3, 1)
    stride: tuple[int, int] = (1, 1)

    @property
    def weights(self) -> int:
        """Number of weights: channels x rows x columns."""
        return self.kernel[0] * self.kernel[1] * self.channels

    @property
    def normed(self) -> int:
        """Number of channels and bands that are normalised, each by itself."""
        return self.channels * self.bands

    @property
    def padding(self) -> tuple[int, int]:
        """Zero padding (bins, frames) on each side."""
        return self.kernel[0] // 2, self.kernel[1] // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection(_GridWithin):
    """Strided 1x1 convolution with a bias, without batch norm or ReLU; `stride` is (bins, frames), sizes round up."""

    name: str
    reads: tuple[str, ...]
    inputs: int
    outputs: int
    stride: tuple[int, int] = (1, 1)

    @property
    def weights(self) -> int:
        """Number of weights: outputs x inputs."""
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class SqueezeExcite(_GridBeside):
    """Scales each channel by a gate: mean of the map, linear, ReLU, batch norm, linear, sigmoid; all in float.

    Hu et al. 2017, https://arxiv.org/abs/1709.01507, with the batch norm from the report's figure 3.
    """

    name: str
    reads: tuple[str, ...]
    channels: int
    bottleneck: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(_GridOfItsName):
    """The sum of maps and, with `relu`, a ReLU. The first has the shape of the sum; others may have a single bin."""

    name: str
    reads: tuple[str, ...]
    relu: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Swish(_GridBeside):
    """x times sigmoid(x) for each value; in 8 bits a table of 256 entries. https://arxiv.org/abs/1710.05941."""

    name: str
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrequencyMean(_GridBeside):
    """The mean over bins, (channels, bins, frames) to (channels, 1, frames); in 8 bits from exact integer sums."""

    name: str
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePool:
    """The mean over windows of 3 x 3 values; `stride` is (bins, frames), sizes round up. Zero padding counts.

    In 8 bits the mean is rounded to the grid of its input, `grid`, as in the integer kernels of most runtimes. With one
    of its own, LiteRT's converter would put the input on that grid first, and clip it.
    """

    name: str
    reads: tuple[str, ...]
    stride: tuple[int, int]
    grid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool:
    """The maximum over windows as large as `stride`, (bins, frames). Sizes round up, so the last window may be cut.

    In 8 bits the maximum of steps is exact, so the output is on the grid of its input, `grid`.
    """

    name: str
    reads: tuple[str, ...]
    stride: tuple[int, int]
    grid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseNorm(_GridBeside):
    """Global response normalisation, then ReLU: channels that respond strongly to the clip are amplified, in float.

    The output is ReLU(map * (1 + gamma * n) + beta), where n is a channel's root mean square over the map, divided by
    the mean of these over the channels; gamma and beta are single numbers. Woo et al. 2023,
    https://arxiv.org/abs/2301.00808, as CP-Mobile has it.
    """

    name: str
    reads: tuple[str, ...]
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualNorm(_GridBeside):
    """Residual normalisation: a part of the map is added to the map normalised in frequency; in float, no weights.

    The output is shortcut * map + (map - mean) / sqrt(variance + 1e-5), with mean and variance per clip and bin, over
    channels and frames. `shortcut` is the paper's lambda, a fixed number. Kim et al. 2021,
    https://arxiv.org/abs/2111.06531 (section 3.2, lambda 0.1).
    """

    name: str
    reads: tuple[str, ...]
    shortcut: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanPool(_GridBeside):
    """Mean over bins and frames for each channel: a float vector (channels,)."""

    name: str
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsPool(_GridBeside):
    """Mean and standard deviation over time for each channel and bin: a float vector (2 x channels x bins,)."""

    name: str
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense(_GridWithin):
    """Linear layer with a bias, (inputs,) to (outputs,).

    With `over_map` it is defined, trained and counted as a 1x1 convolution with batch norm before a `MeanPool`. All of
    these are linear, so the stored forms pool first, with the norm folded: the same logits at a fraction of the work.
    """

    name: str
    reads: tuple[str, ...]
    inputs: int
    outputs: int
    over_map: bool = False

    @property
    def weights(self) -> int:
        """Number of weights: outputs x inputs."""
        return self.inputs * self.outputs


OnGrid = (
    Input
    | ConvNorm
    | SubSpectralConv
    | Projection
    | SqueezeExcite
    | ResponseNorm
    | ResidualNorm
    | Add
    | Swish
    | FrequencyMean
    | AveragePool
    | MaxPool
    | StatisticsPool
    | MeanPool
    | Dense
)
"""The kinds whose output lies on a grid in 8 bits."""
Layer = BandNorm | OnGrid
Gate = SqueezeExcite | ResponseNorm | ResidualNorm
"""The kinds that scale a map by statistics of the whole map, which a stream must carry."""
Pool = StatisticsPool | MeanPool
"""The kinds that end the time axis."""


def has_bias(layer: ConvNorm | Projection | Dense) -> bool:
    """Whether the stored layer has a bias, into which the offset of a batch norm is folded."""
    return layer.norm if isinstance(layer, ConvNorm) else True
