"""Topologies outside the families of asc: random kernels, strides, groups, gates, skips and branches."""

import random
from collections.abc import Iterator
from dataclasses import replace

from asc.config.architecture import Architecture
from asc.topology.describe import describe
from asc.topology.layers import (
    LOG_MEL,
    Add,
    AveragePool,
    BandNorm,
    ConvNorm,
    Dense,
    FrequencyMean,
    Input,
    MaxPool,
    MeanPool,
    OnGrid,
    Projection,
    ResidualNorm,
    ResponseNorm,
    SqueezeExcite,
    StatisticsPool,
    SubSpectralConv,
    Swish,
)
from asc.topology.topology import Shape, Topology, shape_after

KERNELS = ((1, 1), (3, 3), (1, 3), (5, 1), (3, 5))


def random_topology(seed: int, *, bins: int = 16, classes: int = 4) -> Topology:
    """A network of up to four stages, each of a random kind, for log-mel input of `bins` bands.

    From seed 100 on there are inverted blocks with response norms too. From 200 on there are residual norms, up to 299
    after a band norm; from 300 on broadcasted residual blocks. Half of these networks pool by a mean. From seed 400 on
    the networks are grown ones of the report's family.
    """
    rng = random.Random(seed)
    if seed >= 400:
        return describe(_grown(rng, classes), bins)
    stages = _STAGES[seed // 100]
    means = seed >= 100 and seed % 2 == 0
    layers: list[OnGrid] = [Input(name="input")]
    first = (BandNorm(name="bands", bins=bins),) if 200 <= seed < 300 else ()
    if first:
        layers = [Input(name="input", reads=("bands",))]
    name, channels, number = "input", 1, 0
    for _ in range(rng.randint(1, 4)):
        outputs, drawn = 4 * rng.randint(1, 3), rng.random()
        stage = rng.choice(stages)
        for _ in range(rng.choice((1, 1, 3))):  # some stages are repeated
            layers += stage(random.Random(drawn), f"stage.{number}", name, channels, outputs)
            name, channels, number = layers[-1].name, outputs, number + 1
    layers = list(_fitting(layers, bins))
    layers.append(MeanPool(name="pool", reads=(name,)) if means else StatisticsPool(name="pool", reads=(name,)))
    dense = Dense(
        name="dense", reads=("pool",), inputs=1, outputs=classes, over_map=means and (seed < 300 or seed % 4 == 0)
    )
    shape = Topology(layers=(*first, *layers, dense), bins=bins).shapes(8)["pool"]
    return Topology(layers=(*first, *layers, replace(dense, inputs=shape[0])), bins=bins)


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


def _fitting(layers: list[OnGrid], bins: int) -> Iterator[OnGrid]:
    """The layers, where pools are on the grid of their input, bands divide the bins, and no map loses its last bin."""
    shapes: dict[str, Shape] = {LOG_MEL: (1, bins, 8), "bands": (1, bins, 8)}
    grids: dict[str, str] = {}
    for layer in layers:
        shape = shapes[layer.reads[0]]
        match layer:
            case AveragePool() | MaxPool():
                layer = replace(layer, grid=grids[layer.reads[0]])
            case SubSpectralConv() if shape[1] % layer.bands:
                layer = replace(layer, bands=1)
            case ConvNorm(pads_bins=False) if shape[1] < layer.kernel[0]:
                layer = replace(layer, kernel=(1, layer.kernel[1]))
            case _:
                pass
        shapes[layer.name], grids[layer.name] = shape_after(layer, shape), layer.grid
        yield layer


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


def _plain(rng: random.Random, name: str, reads: str, inputs: int, outputs: int) -> list[OnGrid]:
    return [_conv(rng, f"{name}.conv", reads, inputs, outputs)]


def _gated(rng: random.Random, name: str, reads: str, inputs: int, outputs: int) -> list[OnGrid]:
    conv = _conv(rng, f"{name}.conv", reads, inputs, outputs)
    gate = SqueezeExcite(name=f"{name}.se", reads=(conv.name,), channels=outputs, bottleneck=rng.randint(1, 5))
    return [conv, gate]


def _branched(rng: random.Random, name: str, reads: str, inputs: int, outputs: int) -> list[OnGrid]:
    """A convolution, gated or not, in parallel with a projection or another convolution, and their sum."""
    one, *gate = (_gated if rng.random() < 0.5 else _plain)(rng, name, reads, inputs, outputs)
    assert isinstance(one, ConvNorm)
    other: OnGrid
    if rng.random() < 0.5:
        other = Projection(name=f"{name}.skip", reads=(reads,), inputs=inputs, outputs=outputs, stride=one.stride)
    else:
        other = ConvNorm(
            name=f"{name}.other", reads=(reads,), inputs=inputs, outputs=outputs, stride=one.stride, kernel=(3, 3)
        )
    last = gate[-1].name if gate else one.name
    return [one, *gate, other, Add(name=f"{name}.add", reads=(last, other.name))]


def _inverted(rng: random.Random, name: str, reads: str, inputs: int, outputs: int) -> list[OnGrid]:
    """An inverted residual block: expansion, depthwise convolution, projection, a shortcut, and a response norm."""
    inner, stride = inputs * rng.randint(1, 3), rng.choice(((1, 1), (2, 1), (1, 2), (2, 2)))
    expand, depthwise, project, pool, add = (f"{name}.{part}" for part in ("expand", "deep", "project", "pool", "add"))
    layers: list[OnGrid] = [
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


def _broadcast(rng: random.Random, name: str, reads: str, inputs: int, outputs: int) -> list[OnGrid]:
    """A broadcasted residual block after a convolution that is unpadded in frequency, and before a max pool."""
    names = ("change", "map", "mean", "time", "swish", "mix", "add", "pool")
    change, over_map, mean, time, swish, mix, add, pool = (f"{name}.{part}" for part in names)
    layers: list[OnGrid] = [
        ConvNorm(name=change, reads=(reads,), inputs=inputs, outputs=outputs, pads_bins=False, dilation=(1, 2)),
        SubSpectralConv(name=over_map, reads=(change,), channels=outputs, bands=2),
        FrequencyMean(name=mean, reads=(over_map,)),
        ConvNorm(
            name=time,
            reads=(mean,),
            inputs=outputs,
            outputs=outputs,
            kernel=(1, 3),
            groups=outputs,
            relu=False,
            dilation=(1, rng.choice((1, 2, 4))),
        ),
        Swish(name=swish, reads=(time,)),
        ConvNorm(
            name=mix,
            reads=(swish,),
            inputs=outputs,
            outputs=outputs,
            kernel=(1, 1),
            relu=False,
            norm=rng.random() < 0.5,
        ),
    ]
    terms = (over_map, mix, change) if rng.random() < 0.5 else (over_map, mix)
    layers.append(Add(name=add, reads=terms, relu=rng.random() < 0.7))
    if rng.random() < 0.5:
        layers.append(MaxPool(name=pool, reads=(add,), stride=rng.choice(((2, 2), (1, 3), (2, 1))), grid=""))
    return layers


def _normed(rng: random.Random, name: str, reads: str, inputs: int, outputs: int) -> list[OnGrid]:
    """Any other stage, and a residual norm after it."""
    layers = rng.choice((_plain, _gated, _branched))(rng, name, reads, inputs, outputs)
    shortcut = rng.choice((0.0, 0.1, 0.5))
    return [*layers, ResidualNorm(name=f"{name}.residual", reads=(layers[-1].name,), shortcut=shortcut)]


_STAGES = (
    (_plain, _gated, _branched),
    (_inverted, _inverted, _branched),
    (_normed, _normed, _inverted),
    (_broadcast, _broadcast, _plain),
)
