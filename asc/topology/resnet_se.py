"""The residual network with squeeze-and-excitation of the report (section 2.3, figures 1 to 3).

He et al. 2015, https://arxiv.org/abs/1512.03385; Hu et al. 2017, https://arxiv.org/abs/1709.01507; Xie et al. 2017 for
grouped convolutions, https://arxiv.org/abs/1611.05431. A double conv block has two 3x3 convolutions (the first dense
and strided, the second grouped), then SE, and, in every block but the first, a projected skip.

What may differ from the report's network (see `Architecture`):

- A pair of convolutions, 1x3 and then 3x1, in place of each 3x3 one. Each has its own batch norm and ReLU, the same
  groups, and the stride of its own axis (Szegedy et al. 2015, https://arxiv.org/abs/1512.00567, section 3.2).
- Residual normalisation after the stem and each stage but the last (Kim et al. 2021,
  https://arxiv.org/abs/2111.06531). Right before the pooling it would make rounding differences between the 8-bit forms
  larger: on 24 clips of ESC-10, untrained, logits were then up to 3 steps apart, without it 1.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from itertools import accumulate

from asc.config.architecture import Architecture
from asc.errors import require
from asc.topology.layers import (
    Add,
    ConvNorm,
    Dense,
    Input,
    Layer,
    Projection,
    ResidualNorm,
    SqueezeExcite,
    StatisticsPool,
)
from asc.typed import Value

WIDTHS = "architecture.widths"
DEPTHS = "architecture.depths"
STRIDES = "architecture.frequency_strides", "architecture.time_strides"

_STEM, _POOL = "stem", "pool"


def layers(architecture: Architecture, bins: int) -> Iterator[Layer]:
    """The layers in execution order, for log-mel of `bins` bins."""
    channels, kernel = architecture.widths[0], (architecture.stem_kernel, architecture.stem_kernel)
    yield Input(name="input")
    yield ConvNorm(name=_STEM, reads=("input",), inputs=1, outputs=channels, kernel=kernel)
    reads, number = (yield from _normed(architecture, "stem_norm", _STEM)), 0
    for stage, depth in enumerate(architecture.depths):
        for _ in range(depth):
            reads = yield from _block(architecture, stage, number, reads, channels)
            channels = architecture.widths[stage]
            bins = -(-bins // architecture.frequency_strides[number])
            number += 1
        if stage < len(architecture.depths) - 1:
            reads = yield from _normed(architecture, f"blocks.{number - 1}.norm", reads)
    yield StatisticsPool(name=_POOL, reads=(reads,))
    yield Dense(name="dense", reads=(_POOL,), inputs=2 * channels * bins, outputs=architecture.classes)


_Part = Generator[Layer, None, str]
"""Yields layers, and returns the name of the last one."""


def _normed(architecture: Architecture, name: str, reads: str) -> _Part:
    """The residual norm after the stem or a stage, if there is one."""
    match architecture.residual_norm:
        case "none":
            return reads
        case "stages":
            yield ResidualNorm(name=name, reads=(reads,), shortcut=architecture.residual_norm_lambda)
            return name


def _block(architecture: Architecture, stage: int, number: int, reads: str, inputs: int) -> _Part:
    name, width = f"blocks.{number}", architecture.widths[stage]
    stride = architecture.frequency_strides[number], architecture.time_strides[number]
    conv1, conv2, se, skip = (f"{name}.{part}" for part in ("conv1", "conv2", "se", "skip"))
    last = yield from _convolution(
        architecture, ConvNorm(name=conv1, reads=(reads,), inputs=inputs, outputs=width, stride=stride)
    )
    groups = architecture.cardinality
    last = yield from _convolution(
        architecture, ConvNorm(name=conv2, reads=(last,), inputs=width, outputs=width, groups=groups)
    )
    if _has_se(architecture, stage):
        bottleneck = architecture.se_bottlenecks[stage]
        yield SqueezeExcite(name=se, reads=(last,), channels=width, bottleneck=bottleneck)
        last = se
    if number > 0:
        yield Projection(name=skip, reads=(reads,), inputs=inputs, outputs=width, stride=stride)
        yield Add(name=f"{name}.add", reads=(last, skip))
        last = f"{name}.add"
    return last


def _convolution(architecture: Architecture, whole: ConvNorm) -> _Part:
    """A 3x3 convolution, or the pair in its place: the first looks along time, the second along frequency."""
    match architecture.kernel:
        case "3x3":
            yield whole
            return whole.name
        case "1x3+3x1":
            bins, frames = whole.stride
            time, frequency = f"{whole.name}.time", f"{whole.name}.frequency"
            yield replace(whole, name=time, kernel=(1, 3), stride=(1, frames))
            width = whole.outputs
            yield replace(whole, name=frequency, reads=(time,), inputs=width, kernel=(3, 1), stride=(bins, 1))
            return frequency


def _has_se(architecture: Architecture, stage: int) -> bool:
    match architecture.se_stages:
        case "all":
            return True
        case "last":
            return stage == len(architecture.depths) - 1
        case "none":
            return False


def fitted(base: Architecture, values: Mapping[str, Value]) -> dict[str, Value]:
    """The config values of a point whose depths may be drawn stage by stage, with one stride for each block.

    Strides, those of `base` or of the point, are given for the blocks of `base`. A stage that is drawn shallower keeps
    the strides of its first blocks. A stage that is drawn deeper has blocks of stride 1 after its own.

    Raises:
        InputError: a drawn list of strides has not one value for each block of `base`.
    """
    depths = tuple(int(values.get(f"{DEPTHS}.{stage}", depth)) for stage, depth in enumerate(base.depths))  # type: ignore[arg-type]
    drawn = {key for key in values if key.startswith(f"{DEPTHS}.")}
    if not drawn:
        return dict(values)
    kept = {key: value for key, value in values.items() if key not in drawn and not key.startswith(STRIDES)}
    return {**kept, DEPTHS: depths, **{key: _strides(base, key, values, depths) for key in STRIDES}}


def _strides(base: Architecture, key: str, values: Mapping[str, Value], depths: tuple[int, ...]) -> tuple[int, ...]:
    """The strides under `key` for blocks of these depths, from those for the blocks of `base`."""
    whole = values.get(key, getattr(base, key.rpartition(".")[2]))
    assert isinstance(whole, tuple), "a space's choices of strides are tuples"
    require(
        len(whole) == sum(base.depths),
        f"{key} has {len(whole)} values, but {DEPTHS} of the reference has {sum(base.depths)} blocks: where depths are "
        "drawn, list strides for the blocks of the reference",
    )
    listed = [int(values.get(f"{key}.{block}", stride)) for block, stride in enumerate(whole)]
    found: list[int] = []
    for stop, length, depth in zip(accumulate(base.depths), base.depths, depths, strict=True):
        found += [*listed[stop - length : stop], *[1] * depth][:depth]
    return tuple(found)


def drawn_widths(base: Architecture, values: Mapping[str, Value]) -> tuple[int, ...]:
    """The widths of a point: drawn as one tuple, drawn stage by stage, or taken from `base`."""
    whole = values.get(WIDTHS, base.widths)
    assert isinstance(whole, tuple), "a space's choices of widths are tuples"
    by_stage = [values.get(f"{WIDTHS}.{stage}", width) for stage, width in enumerate(whole)]
    return tuple(int(width) for width in by_stage)  # type: ignore[arg-type]


def narrowings(base: Architecture, values: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """The widths of a point scaled down together, widest first; each is a positive multiple of the cardinality."""
    widths = drawn_widths(base, values)
    cardinality = int(values.get("architecture.cardinality", base.cardinality))  # type: ignore[arg-type]
    seen: set[tuple[int, ...]] = set()
    widest = max(widths)
    for numerator in range(widest, 0, -1):
        scaled = tuple(max(cardinality, width * numerator // widest // cardinality * cardinality) for width in widths)
        if scaled not in seen:
            seen.add(scaled)
            yield {WIDTHS: scaled}


def narrowed(architecture: Architecture, changes: Mapping[str, Value]) -> Architecture:
    """The architecture with the widths of one of its narrowings."""
    return replace(architecture, widths=changes[WIDTHS])  # type: ignore[arg-type]


def short_name(architecture: Architecture) -> str:
    """Widths and cardinality, then what differs from the report's network: `w24-48 c4`, `w24-48 c4 d2-4 1x3 rn`."""
    parts = [f"w{'-'.join(map(str, architecture.widths))}", f"c{architecture.cardinality}"]
    if architecture.depths != Architecture().depths:
        parts.append(f"d{'-'.join(map(str, architecture.depths))}")
    if architecture.kernel != "3x3":
        parts.append("1x3")
    if architecture.stem_kernel != 3:
        parts.append(f"s{architecture.stem_kernel}")
    if architecture.se_stages != "all":
        parts.append({"last": "se1", "none": "se0"}[architecture.se_stages])
    if architecture.residual_norm != "none":
        parts.append("rn")
    return " ".join(parts)


def kind(architecture: Architecture) -> str:
    """What the network is called, with what differs from the report's in parentheses."""
    said = []
    if architecture.kernel != "3x3":
        said.append("pairs of 1x3 and 3x1 convolutions")
    if architecture.stem_kernel != 3:
        said.append(f"{architecture.stem_kernel}x{architecture.stem_kernel} input convolution")
    if architecture.se_stages != "all":
        said.append({"last": "SE in the last stage alone", "none": "no SE"}[architecture.se_stages])
    if architecture.residual_norm != "none":
        said.append(f"residual normalisation, lambda {architecture.residual_norm_lambda:g}")
    return "residual network" + (f" ({'; '.join(said)})" if said else "")
