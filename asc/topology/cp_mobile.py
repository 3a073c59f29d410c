"""CP-Mobile: inverted residual blocks with global response normalisation (Schmid et al., DCASE 2023, task 1).

https://dcase.community/documents/challenge2023/technical_reports/DCASE2023_Schmid_65_t1.pdf; the code of the DCASE 2024
baseline is the reference for every size: https://github.com/CPJKU/dcase2024_task1_baseline. A block expands its
channels by a 1x1 convolution, filters each one by a depthwise convolution, which may stride, and projects them by a 1x1
convolution. The input is added if the channels agree: as it is, or pooled if the block strides. Then follow global
response normalisation and ReLU. The classifier is a 1x1 convolution before the mean over the map.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from asc.config.architecture import Architecture, CpMobile
from asc.topology.layers import (
    Add,
    AveragePool,
    ConvNorm,
    Dense,
    Input,
    Layer,
    MeanPool,
    ResponseNorm,
)
from asc.typed import Value

BASE = "architecture.cp_mobile.base_channels"
DIVISOR = 8  # all widths are multiples of it
_POOL = "pool"


def layers(architecture: Architecture, bins: int) -> Iterator[Layer]:
    """The layers in execution order; their sizes do not depend on the number of log-mel bins."""
    config = architecture.cp_mobile
    stem, *widths = stage_widths(config)
    yield Input(name="input")
    yield ConvNorm(name="stem.0", reads=("input",), inputs=1, outputs=stem // 4, stride=(2, 2))
    yield ConvNorm(name="stem.1", reads=("stem.0",), inputs=stem // 4, outputs=stem, stride=(2, 2))
    reads, grid, channels, number = "stem.1", "stem.1.output", stem, 0
    for width, depth in zip(widths, config.depths, strict=True):
        for _ in range(depth):
            for layer in _block(config, number, reads, grid, channels, width):
                yield layer
            assert isinstance(layer, ResponseNorm), "every block ends with one"
            reads, grid, channels = layer.name, layer.grid, width
            number += 1
    yield MeanPool(name=_POOL, reads=(reads,))
    yield Dense(name="dense", reads=(_POOL,), inputs=channels, outputs=architecture.classes, over_map=True)


def _block(config: CpMobile, number: int, reads: str, grid: str, inputs: int, outputs: int) -> Iterator[Layer]:
    """The layers of a block; `grid` is that of the layer that it reads."""
    name, inner = f"blocks.{number}", divisible(inputs * config.expansion_rate)
    stride = config.frequency_strides[number], config.time_strides[number]
    expand, depthwise, project, shortcut = (f"{name}.{part}" for part in ("expand", "depthwise", "project", "shortcut"))
    yield ConvNorm(name=expand, reads=(reads,), inputs=inputs, outputs=inner, kernel=(1, 1))
    kernel = config.kernel, config.kernel
    yield ConvNorm(
        name=depthwise, reads=(expand,), inputs=inner, outputs=inner, kernel=kernel, stride=stride, groups=inner
    )
    yield ConvNorm(name=project, reads=(depthwise,), inputs=inner, outputs=outputs, kernel=(1, 1), relu=False)
    normed = project
    if inputs == outputs:
        if stride != (1, 1):
            yield AveragePool(name=shortcut, reads=(reads,), stride=stride, grid=grid)
            reads = shortcut
        normed = f"{name}.add"
        yield Add(name=normed, reads=(project, reads))
    yield ResponseNorm(name=f"{name}.norm", reads=(normed,), channels=outputs)


def stage_widths(config: CpMobile) -> tuple[int, ...]:
    """Channels of the stem, then of each stage."""
    stem = divisible(config.base_channels)
    stages = range(len(config.depths))
    return stem, *(divisible(stem * config.channels_multiplier**stage) for stage in stages)


def divisible(channels: float) -> int:
    """The nearest multiple of 8 that is not below 90 % of `channels`, and at least 8 (as in MobileNet)."""
    nearest = max(DIVISOR, int(channels + DIVISOR / 2) // DIVISOR * DIVISOR)
    return nearest + DIVISOR if nearest < 0.9 * channels else nearest


def narrowings(base: Architecture, values: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """Base channels of a point, widest first, in steps of 8; all other widths follow from them."""
    widest = int(values.get(BASE, base.cp_mobile.base_channels))  # type: ignore[arg-type]
    for channels in (widest, *range(divisible(widest) - DIVISOR, 0, -DIVISOR)):
        yield {BASE: channels}


def narrowed(architecture: Architecture, changes: Mapping[str, Value]) -> Architecture:
    """The architecture with the base channels of one of its narrowings."""
    config = replace(architecture.cp_mobile, base_channels=changes[BASE])  # type: ignore[arg-type]
    return replace(architecture, cp_mobile=config)


def drawn(base: Architecture, values: Mapping[str, Value]) -> dict[str, Value]:
    """The base channels of a point, as it was drawn."""
    return {BASE: values.get(BASE, base.cp_mobile.base_channels)}


def short_name(architecture: Architecture) -> str:
    """Base channels, multiplier and expansion rate: `cpm32 x1.8 e2.1`."""
    config = architecture.cp_mobile
    return f"cpm{config.base_channels} x{config.channels_multiplier:g} e{config.expansion_rate:g}"
