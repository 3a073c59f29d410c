"""The kinds of layers: their names, their sizes, and the layers that each one reads.

A layer's `name` is the prefix of its tensors in a state_dict; `reads` names the layers whose outputs it takes. In 8
bits the output of every layer lies on a quantisation grid, whose scale and zero point are stored under `grid`. Maps
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
    """The output's grid is stored next to the layer, because the layer's module computes in float."""

    __slots__ = ()

    @property
    def grid(self: _Named) -> str:
        """Where the grid of the output is stored."""
        return f"{self.name}_output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input(_GridOfItsName):
    """Puts the log-mel map on a grid; in float it does nothing."""

    name: str
    reads: tuple[str, ...] = (LOG_MEL,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNormRelu(_GridWithin):
    """Convolution, batch norm, ReLU; `kernel` and `stride` are (bins, frames).

    Kernels are odd, with zero padding of half their size. Output sizes round up: ceil(bins / stride).
    """

    name: str
    reads: tuple[str, ...]
    inputs: int
    outputs: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def weights(self) -> int:
        """Number of weights: outputs x (inputs / groups) x rows x columns."""
        return self.kernel[0] * self.kernel[1] * self.inputs // self.groups * self.outputs


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
    """The sum of two maps of equal shape."""

    name: str
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsPool(_GridBeside):
    """Mean and standard deviation over time for each channel and bin: a float vector (2 x channels x bins,)."""

    name: str
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense(_GridWithin):
    """Linear layer with a bias, (inputs,) to (outputs,)."""

    name: str
    reads: tuple[str, ...]
    inputs: int
    outputs: int

    @property
    def weights(self) -> int:
        """Number of weights: outputs x inputs."""
        return self.inputs * self.outputs


Layer = Input | ConvNormRelu | Projection | SqueezeExcite | Add | StatisticsPool | Dense
