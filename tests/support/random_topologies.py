"""Topologies outside the families of asc: random kernels, strides, groups, gates, skips and branches."""

import random

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
from asc.topology.topology import Topology

KERNELS = ((1, 1), (3, 3), (1, 3), (5, 1), (3, 5))


def random_topology(seed: int, *, bins: int = 16, classes: int = 4) -> Topology:
    """A network of up to four stages, each one of three kinds, for log-mel input of `bins` bands."""
    rng = random.Random(seed)
    layers: list[Layer] = [Input(name="input")]
    name, channels, number = "input", 1, 0
    for _ in range(rng.randint(1, 4)):
        outputs, drawn = 4 * rng.randint(1, 3), rng.random()
        stage = rng.choice((_plain, _gated, _branched))
        for _ in range(rng.choice((1, 1, 3))):  # some stages are repeated
            layers += stage(random.Random(drawn), f"stage.{number}", name, channels, outputs)
            name, channels, number = layers[-1].name, outputs, number + 1
    layers.append(StatisticsPool(name="pool", reads=(name,)))
    shape = Topology(layers=(*layers, _classifier(1, classes)), bins=bins).shapes(8)["pool"]
    return Topology(layers=(*layers, _classifier(shape[0], classes)), bins=bins)


def _classifier(inputs: int, classes: int) -> Dense:
    return Dense(name="dense", reads=("pool",), inputs=inputs, outputs=classes)


def _conv(rng: random.Random, name: str, reads: str, inputs: int, outputs: int) -> ConvNorm:
    groups = rng.choice([count for count in (1, 2, 4) if inputs % count == outputs % count == 0])
    stride = rng.choice(((1, 1), (2, 1), (1, 2), (2, 2)))
    return ConvNorm(
        name=name,
        reads=(reads,),
        inputs=inputs,
        outputs=outputs,
        kernel=rng.choice(KERNELS),
        stride=stride,
        groups=groups,
    )


def _plain(rng: random.Random, name: str, reads: str, inputs: int, outputs: int) -> list[Layer]:
    return [_conv(rng, f"{name}.conv", reads, inputs, outputs)]


def _gated(rng: random.Random, name: str, reads: str, inputs: int, outputs: int) -> list[Layer]:
    conv = _conv(rng, f"{name}.conv", reads, inputs, outputs)
    gate = SqueezeExcite(name=f"{name}.se", reads=(conv.name,), channels=outputs, bottleneck=rng.randint(1, 5))
    return [conv, gate]


def _branched(rng: random.Random, name: str, reads: str, inputs: int, outputs: int) -> list[Layer]:
    """A convolution, gated or not, in parallel with a projection or another convolution, and their sum."""
    one, *gate = (_gated if rng.random() < 0.5 else _plain)(rng, name, reads, inputs, outputs)
    assert isinstance(one, ConvNorm)
    other: Layer
    if rng.random() < 0.5:
        other = Projection(name=f"{name}.skip", reads=(reads,), inputs=inputs, outputs=outputs, stride=one.stride)
    else:
        other = ConvNorm(
            name=f"{name}.other", reads=(reads,), inputs=inputs, outputs=outputs, stride=one.stride, kernel=(3, 3)
        )
    last = gate[-1].name if gate else one.name
    return [one, *gate, other, Add(name=f"{name}.add", reads=(last, other.name))]
