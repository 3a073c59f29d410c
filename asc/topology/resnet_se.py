"""The residual network with squeeze-and-excitation of the report (section 2.3, figures 1 to 3).

He et al. 2015, https://arxiv.org/abs/1512.03385; Hu et al. 2017, https://arxiv.org/abs/1709.01507; Xie et al. 2017 for
grouped convolutions, https://arxiv.org/abs/1611.05431. A double conv block has two 3x3 convolutions, the
first dense and strided, the second grouped; then SE; and, in all blocks but the first, a
projected skip.
"""

from collections.abc import Iterator

from asc.config import Architecture
from asc.topology.layers import (
    Add,
    ConvNormRelu,
    Dense,
    Input,
    Layer,
    Projection,
    SqueezeExcite,
    StatisticsPool,
)

_STEM, _POOL = "stem", "pool"


def layers(architecture: Architecture, bins: int) -> Iterator[Layer]:
    """The layers in the order in which they run, for log-mel of so many bins."""
    channels = architecture.widths[0]
    yield Input(name="input")
    yield ConvNormRelu(name=_STEM, reads=("input",), inputs=1, outputs=channels)
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
    yield ConvNormRelu(name=conv1, reads=(reads,), inputs=inputs, outputs=width, stride=stride)
    yield ConvNormRelu(name=conv2, reads=(conv1,), inputs=width, outputs=width, groups=architecture.cardinality)
    yield SqueezeExcite(name=se, reads=(conv2,), channels=width, bottleneck=architecture.se_bottlenecks[stage])
    if number > 0:
        yield Projection(name=skip, reads=(reads,), inputs=inputs, outputs=width, stride=stride)
        yield Add(name=f"{name}.add", reads=(se, skip))
