"""Topologies outside the families of asc: random kernels, strides, groups, gates, skips and branches."""

import random
from dataclasses import replace

from asc.config.architecture import Architecture
from asc.topology.describe import describe
from asc.topology.layers import (
    Add,
    AveragePool,
    BandNorm,
    ConvNorm,
    Dense,
    Input,
    Layer,
    MeanPool,
    Projection,
    ResidualNorm,
    ResponseNorm,
    SqueezeExcite,
    StatisticsPool,
)
from asc.topology.topology import Topology

KERNELS = ((1, 1), (3, 3), (1, 3), (5, 1), (3, 5))


def random_topology(seed: int, *, bins: int = 16, classes: int = 4) -> Topology:
    """A network of up to four stages, each of a random kind, for log-mel input of `bins` bands.

    From seed 100 on there are inverted blocks with response norms too, and half of the networks pool by a mean. From
    seed 200 on there are residual norms, and they begin with a band norm. From seed 300 on the networks are grown ones
    of the report's family.
    """
    rng = random.Random(seed)
    if seed >= 300:
        return describe(_grown(rng, classes), bins)
    stages = _STAGES[seed // 100]
    means = seed >= 100 and seed % 2 == 0
    layers: list[Layer] = [Input(name="input")]
    if seed >= 200:
        layers = [BandNorm(name="bands", bins=bins), Input(name="input", reads=("bands",))]
    name, channels, number = "input", 1, 0
    for _ in range(rng.randint(1, 4)):
        outputs, drawn = 4 * rng.randint(1, 3), rng.random()
        stage = rng.choice(stages)
        for _ in range(rng.choice((1, 1, 3))):  # some stages are repeated
            layers += stage(random.Random(drawn), f"stage.{number}", name, channels, outputs)
            name, channels, number = layers[-1].name, outputs, number + 1
    grids = {layer.name: layer.grid for layer in layers if not isinstance(layer, BandNorm)}
    layers = [replace(x, grid=grids[x.reads[0]]) if isinstance(x, AveragePool) else x for x in layers]
    layers.append(MeanPool(name="pool", reads=(name,)) if means else StatisticsPool(name="pool", reads=(name,)))
    dense = Dense(name="dense", reads=("pool",), inputs=1, outputs=classes, over_map=means)
    shape = Topology(layers=(*layers, dense), bins=bins).shapes(8)["pool"]
    return Topology(layers=(*layers, replace(dense, inputs=shape[0])), bins=bins)


def _grown(rng: random.Random, classes: int) -> Architecture:
    """The report's network with a random choice of all that it may grow."""
    depths = rng.randint(1, 3), rng.randint(1, 3)
    strides = [tuple(rng.choice((1, 1, 2)) for _ in range(sum(depths))) for _ in range(2)]
    return Architecture(
        widths=(4 * rng.randint(1, 3), 4 * rng.randint(1, 3)),
        depths=depths,
        se_bottlenecks=(2, 3),
        frequency_strides=strides[0],
        time_strides=strides[1],
        cardinality=rng.choice((1, 2, 4)),
        classes=classes,
        kernel=rng.choice(("3x3", "1x3+3x1")),
        stem_kernel=rng.choice((3, 5)),
        se_stages=rng.choice(("all", "last", "none")),
        residual_norm=rng.choice(("none", "stages", "stages")),
        residual_norm_lambda=rng.choice((0.0, 0.1, 0.3)),
    )


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


def _inverted(rng: random.Random, name: str, reads: str, inputs: int, outputs: int) -> list[Layer]:
    """An inverted residual block: expansion, depthwise convolution, projection, a shortcut, and a response norm."""
    inner, stride = inputs * rng.randint(1, 3), rng.choice(((1, 1), (2, 1), (1, 2), (2, 2)))
    expand, depthwise, project, pool, add = (f"{name}.{part}" for part in ("expand", "deep", "project", "pool", "add"))
    layers: list[Layer] = [
        ConvNorm(name=expand, reads=(reads,), inputs=inputs, outputs=inner, kernel=(1, 1)),
        ConvNorm(name=depthwise, reads=(expand,), inputs=inner, outputs=inner, stride=stride, groups=inner),
        ConvNorm(name=project, reads=(depthwise,), inputs=inner, outputs=outputs, kernel=(1, 1), relu=False),
    ]
    normed = project
    if inputs == outputs:
        if stride != (1, 1):
            layers.append(AveragePool(name=pool, reads=(reads,), stride=stride, grid=""))
            reads = pool
        layers.append(Add(name=add, reads=(project, reads)))
        normed = add
    return [*layers, ResponseNorm(name=f"{name}.norm", reads=(normed,), channels=outputs)]


def _normed(rng: random.Random, name: str, reads: str, inputs: int, outputs: int) -> list[Layer]:
    """Any other stage, and a residual norm after it."""
    layers = rng.choice((_plain, _gated, _branched))(rng, name, reads, inputs, outputs)
    shortcut = rng.choice((0.0, 0.1, 0.5))
    return [*layers, ResidualNorm(name=f"{name}.residual", reads=(layers[-1].name,), shortcut=shortcut)]


_STAGES = ((_plain, _gated, _branched), (_inverted, _inverted, _branched), (_normed, _normed, _inverted))
