"""Convolutions on the 8-bit integer units of an x86 processor (VNNI): the same sums, in half the time or less.

A value on an activation grid is a whole number of steps of 8 bits, and a weight on its grid is one too. So a
convolution is a sum of products of integers. oneDNN adds them up exactly in 32 bits, then applies the scales
(https://uxlfoundation.github.io/oneDNN/dev_guide_int8_computations.html).

Three things are left to float32, because torch 2.13 returned wrong sums for them (docs/benchmarks.md, "Speed of
evaluation"): processors with AMX, maps of a few bins or frames, and groups of one input with many outputs.
"""

import functools
import platform
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from asc.models.fused import EightBits, kernels

_SMALLEST_SIDE = 8
"""Of maps that are convolved here, in bins and frames: wrong sums were seen with fewer than 3."""
_MOST_OUTPUTS_OF_ONE = 32
"""Of a group with one input: wrong sums were seen with more, at strides of 2."""
_WORTH_CONVERTING = 2**13
"""Values of a map for which a convolution here takes less time than one in float32."""


class Geometry(Protocol):
    """What a convolution layer says of itself, such as torch's Conv2d; sizes are (frequency, time)."""

    groups: int

    @property
    def stride(self) -> tuple[int, ...]:
        """Of the outputs, in inputs."""

    @property
    def padding(self) -> tuple[int, ...] | str:
        """Zeros on each side; never one of torch's words for it."""

    @property
    def dilation(self) -> tuple[int, ...]:
        """From one value that a kernel reads to the next."""


def convolves(x: Tensor) -> bool:
    """Whether a map (batch, channels, bins, frames) on a grid is convolved here."""
    compiled = kernels()
    large = x.numel() >= _WORTH_CONVERTING and x.dim() == 4 and x.shape[1] > 1 and min(x.shape[2:]) >= _SMALLEST_SIDE
    return compiled is not None and large and compiled.takes(x) and available()


def takes_layer(weight: Tensor, groups: int) -> bool:
    """Whether a layer with this weight, (outputs, inputs / groups, rows, columns), is convolved here."""
    return weight.shape[1] > 1 or weight.shape[0] <= _MOST_OUTPUTS_OF_ONE * groups


def in_eight_bits(x: Tensor, scale: Tensor) -> EightBits | None:
    """A map in 8 bits, given the scale of its grid, (); None if it is not convolved here or not on such a grid."""
    compiled = kernels()
    return compiled.whole_steps(x, float(scale)) if compiled is not None and convolves(x) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerConvolution:
    """A convolution with the int8 weight (outputs, inputs / groups, rows, columns).

    How oneDNN wants the weight laid out is found once, for maps whose `zero` is 0 and for others.
    """

    weight: Tensor
    shape: Geometry
    _packed: dict[bool, Tensor] = field(default_factory=dict)

    def __call__(self, x: EightBits, scale: Tensor, bias: Tensor | None) -> Tensor:
        """The sums of products of steps, times `scale`, plus `bias`: (batch, outputs, bins, frames) in float32.

        Scale and bias are float32, (outputs,). That of x counts only as a part of `scale`.
        """
        shape, with_zero = self.shape, x.zero != 0
        assert not isinstance(shape.padding, str)
        sizes = list(shape.stride), list(shape.padding), list(shape.dilation), shape.groups
        if with_zero not in self._packed:
            self._packed[with_zero] = torch.ops.onednn.qconv_prepack(
                self.weight, scale, 1.0, x.zero, *sizes, list(x.steps.shape)
            )
        weight = self._packed[with_zero], scale, torch.zeros_like(scale, dtype=torch.int32)
        floats = 1.0, 0, torch.float32, "none", (), ""
        y: Tensor = torch.ops.onednn.qconv2d_pointwise(x.steps, 1.0, x.zero, *weight, bias, *sizes, *floats)
        return y


@functools.cache
def available() -> bool:
    """Whether this processor and this torch convolve integers exactly, as far as a small convolution shows."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not _has_vnni_alone():
        return False
    generator = torch.Generator().manual_seed(0)
    steps = torch.randint(0, 256, (2, 16, 9, 10), generator=generator).to(memory_format=torch.channels_last)
    weight = torch.randint(-127, 128, (24, 4, 3, 3), generator=generator)
    shape = torch.nn.Conv2d(16, 24, 3, (2, 1), 1, groups=4, device="meta")
    try:
        x = EightBits(steps=steps.to(torch.uint8), zero=7, scale=1.0)
        sums = IntegerConvolution(weight=weight.to(torch.int8), shape=shape)(x, torch.ones(24), None)
    except (AttributeError, RuntimeError):  # a torch with other operators, or without them
        return False
    return torch.equal(sums, functional.conv2d(steps.float() - 7, weight.float(), None, (2, 1), 1, 1, 4))


def _has_vnni_alone() -> bool:
    """Whether the processor has VNNI and no AMX, which oneDNN would use in its place."""
    has = _capabilities()
    return has.get("avx512_vnni", False) and not has.get("amx_int8", False)


def _capabilities() -> dict[str, bool]:
    """What torch knows of the processor; an older torch does not say."""
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return known


@functools.cache
def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers: elsewhere torch converts them, which takes longer."""
    return _capabilities().get("avx512_bf16", False)
