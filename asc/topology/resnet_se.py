"""The residual network with squeeze-and-excitation of the report (section 2.3, figures 1 to 3).

He et al. 2015, https://arxiv.org/abs/1512.03385; Hu et al. 2017, https://arxiv.org/abs/1709.01507; Xie et al. 2017 for
grouped convolutions, https://arxiv.org/abs/1611.05431. A double conv block has two 3x3 convolutions (the first dense
and strided, the second grouped), then SE, and, in every block but the first, a projected skip.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from asc.config.architecture import Architecture
from asc.topology.layers import (
    Add,
    ConvNorm,
    Dense,
    Input,
    Layer,
    Projection,
    SqueezeExcite,
    StatisticsPool,
)
from asc.typed import Value

WIDTHS = "architecture.widths"

_STEM, _POOL = "stem", "pool"


def layers(architecture: Architecture, bins: int) -> Iterator[Layer]:
    """The layers in execution order, for log-mel of `bins` bins."""
    channels = architecture.widths[0]
    yield Input(name="input")
    yield ConvNorm(name=_STEM, reads=("input",), inputs=1, outputs=channels)
    reads, number = _STEM, 0
    for stage, depth in enumerate(architecture.depths):
        for _ in range(depth):
            for layer in _block(architecture, stage, number, reads, channels):
                yield layer
            reads, channels = layer.name, architecture.widths[stage]
            bins = -(-bins // architecture.frequency_strides[number])
            number += 1
    yield StatisticsPool(name=_POOL, reads=(reads,))
    yield Dense(name="dense", reads=(_POOL,), inputs=2 * channels * bins, outputs=architecture.classes)


def _block(architecture: Architecture, stage: int, number: int, reads: str, inputs: int) -> Iterator[Layer]:
    name, width = f"blocks.{number}", architecture.widths[stage]
    stride = architecture.frequency_strides[number], architecture.time_strides[number]
    conv1, conv2, se, skip = (f"{name}.{part}" for part in ("conv1", "conv2", "se", "skip"))
    yield ConvNorm(name=conv1, reads=(reads,), inputs=inputs, outputs=width, stride=stride)
    yield ConvNorm(name=conv2, reads=(conv1,), inputs=width, outputs=width, groups=architecture.cardinality)
    yield SqueezeExcite(name=se, reads=(conv2,), channels=width, bottleneck=architecture.se_bottlenecks[stage])
    if number > 0:
        yield Projection(name=skip, reads=(reads,), inputs=inputs, outputs=width, stride=stride)
        yield Add(name=f"{name}.add", reads=(se, skip))


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
    """Widths and cardinality: `w24-48 c4`."""
    return f"w{'-'.join(map(str, architecture.widths))} c{architecture.cardinality}"
