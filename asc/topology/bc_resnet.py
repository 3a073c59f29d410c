"""BC-ResNet: broadcasted residual blocks (Kim et al. 2021, https://arxiv.org/abs/2106.04140), and BC-ResNet-ASC.

https://github.com/Qualcomm-AI-research/bcresnet is the reference for every size of the keyword network. A block has a
part over the map and a part over time alone. The first is a depthwise convolution over frequency with sub-spectral
norm, after a 1x1 convolution if the number of channels changes. The second takes the mean over frequency, a depthwise
convolution over time, swish and a 1x1 convolution. Its output is added to all bins of the first, with the input of the
block if the channels agree; then follows a ReLU.

BC-ResNet-ASC, for scenes (https://arxiv.org/abs/2111.06531), has a smaller receptive field: no dilation, max pools
between the first stages instead of strides, and residual normalisation. Its classifier is a 1x1 convolution before the
mean over the map. Both are linear, so asc takes the mean first: the same logits with fewer multiplications.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from asc.config.architecture import Architecture, BcResNet
from asc.errors import require_together
from asc.topology.layers import (
    Add,
    ConvNorm,
    Dense,
    FrequencyMean,
    Input,
    MaxPool,
    MeanPool,
    OnGrid,
    ResidualNorm,
    SubSpectralConv,
    Swish,
)
from asc.typed import Value

NAME = "architecture.bc_resnet"
BASE = f"{NAME}.base_channels"
_DIVISOR = 4  # narrower networks have multiples of it, so that all widths are whole numbers
_KERNEL = 5  # of the stem and the head
_POOL = "pool"


def layers(architecture: Architecture, bins: int) -> Iterator[OnGrid]:
    """The layers in execution order, for log-mel of `bins` bins.

    Raises:
        InputError: the bins of a stage cannot be divided into `bands` bands of equal size.
    """
    config = architecture.bc_resnet
    layer: OnGrid = Input(name="input")
    yield layer
    if config.residual_norm != "none":
        yield (layer := ResidualNorm(name="input_norm", reads=("input",), shortcut=config.shortcut))
    channels, block = 2 * config.base_channels, 0
    layer = stem = ConvNorm(
        name="stem",
        reads=(layer.name,),
        inputs=1,
        outputs=channels,
        kernel=(_KERNEL, _KERNEL),
        stride=(config.stem_strides[0], config.stem_strides[1]),
    )
    yield stem
    bins = -(-bins // stem.stride[0])
    for stage, depth in enumerate(config.depths):
        width, pool = stage_width(config, stage), config.pools[stage]
        for place in range(depth):
            stride = 1 if place else config.frequency_strides[stage]
            bins = -(-bins // stride)
            added = list(_block(config, stage, f"blocks.{block}", layer.name, (channels, width), stride, bins))
            yield from added
            layer = added[-1]
            channels, block = width, block + 1
        if config.residual_norm == "stages":
            yield (layer := ResidualNorm(name=f"norms.{stage}", reads=(layer.name,), shortcut=config.shortcut))
        if pool > 1:
            yield (layer := MaxPool(name=f"pools.{stage}", reads=(layer.name,), stride=(pool, pool), grid=layer.grid))
            bins = -(-bins // pool)
    yield from _head(architecture, layer.name, channels, bins)


def _block(
    config: BcResNet, stage: int, name: str, reads: str, channels: tuple[int, int], stride: int, bins: int
) -> Iterator[OnGrid]:
    """The layers of a block with (input, output) `channels`, whose part over the map has `bins` bins."""
    inputs, width = channels
    shortcut = reads
    if inputs != width:
        yield ConvNorm(name=f"{name}.change", reads=(reads,), inputs=inputs, outputs=width, kernel=(1, 1))
        reads = f"{name}.change"
    over_map, mean, over_time, swish, mix = (f"{name}.{part}" for part in ("map", "mean", "time", "swish", "mix"))
    yield _over_frequency(config, over_map, reads, width, stride, bins)
    yield FrequencyMean(name=mean, reads=(over_map,))
    yield ConvNorm(
        name=over_time,
        reads=(mean,),
        inputs=width,
        outputs=width,
        kernel=(1, 3),
        groups=width,
        relu=False,
        dilation=(1, config.dilations[stage]),
    )
    yield Swish(name=swish, reads=(over_time,))
    yield ConvNorm(name=mix, reads=(swish,), inputs=width, outputs=width, kernel=(1, 1), relu=False, norm=False)
    terms = (over_map, mix) if inputs != width else (over_map, mix, shortcut)
    yield Add(name=f"{name}.add", reads=terms, relu=True)


def _over_frequency(config: BcResNet, name: str, reads: str, width: int, stride: int, bins: int) -> OnGrid:
    match config.norm:
        case "sub_spectral":
            require_together(
                bins % config.bands == 0,
                f"{NAME}.bands is {config.bands}, but {name} has {bins} bins, which cannot be divided into as many "
                "equal bands: change the bands, the strides and pools, or front_end.mel_bands",
            )
            return SubSpectralConv(
                name=name, reads=(reads,), channels=width, bands=config.bands, kernel=(3, 1), stride=(stride, 1)
            )
        case "batch":
            return ConvNorm(
                name=name,
                reads=(reads,),
                inputs=width,
                outputs=width,
                kernel=(3, 1),
                stride=(stride, 1),
                groups=width,
                relu=False,
            )


def _head(architecture: Architecture, reads: str, channels: int, bins: int) -> Iterator[OnGrid]:
    """The layers after the last stage, which has this number of channels and bins."""
    config = architecture.bc_resnet
    if config.head == "keyword":
        outputs = 4 * config.base_channels
        yield ConvNorm(
            name="head.filter",
            reads=(reads,),
            inputs=channels,
            outputs=channels,
            kernel=(min(_KERNEL, bins), _KERNEL),
            groups=channels,
            relu=False,
            pads_bins=False,
            norm=False,
        )
        yield ConvNorm(name="head.expand", reads=("head.filter",), inputs=channels, outputs=outputs, kernel=(1, 1))
        reads, channels = "head.expand", outputs
    yield MeanPool(name=_POOL, reads=(reads,))
    yield Dense(name="dense", reads=(_POOL,), inputs=channels, outputs=architecture.classes)


def stage_width(config: BcResNet, stage: int) -> int:
    """Channels of a stage, which is numbered from 0."""
    return int(config.base_channels * (1 + stage / 2))


def narrowings(base: Architecture, values: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """Base channels of a point, widest first, in steps of 4; all other widths follow from them."""
    widest = int(values.get(BASE, base.bc_resnet.base_channels))  # type: ignore[arg-type]
    for channels in (widest, *range(-(-widest // _DIVISOR) * _DIVISOR - _DIVISOR, 0, -_DIVISOR)):
        yield {BASE: channels}


def narrowed(architecture: Architecture, changes: Mapping[str, Value]) -> Architecture:
    """The architecture with the base channels of one of its narrowings."""
    config = replace(architecture.bc_resnet, base_channels=changes[BASE])  # type: ignore[arg-type]
    return replace(architecture, bc_resnet=config)


def drawn(base: Architecture, values: Mapping[str, Value]) -> dict[str, Value]:
    """The base channels of a point, as it was drawn."""
    return {BASE: values.get(BASE, base.bc_resnet.base_channels)}


def short_name(architecture: Architecture) -> str:
    """Base channels, norm and head: `bcr48 ss4 scene`."""
    config = architecture.bc_resnet
    norm = f"ss{config.bands}" if config.norm == "sub_spectral" else "bn"
    return f"bcr{config.base_channels} {norm} {config.head}"
