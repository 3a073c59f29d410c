"""BC-ResNet: counts are the published ones, and MACs those of a plain rebuild; blocks have the right layers."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from asc.config.architecture import Architecture, BcResNet
from asc.errors import InputError
from asc.size.law import macs_of
from asc.topology.bc_resnet import BASE, narrowings, short_name
from asc.topology.describe import describe
from asc.topology.layers import (
    Add,
    ConvNorm,
    Dense,
    FrequencyMean,
    MaxPool,
    ResidualNorm,
    SubSpectralConv,
    Swish,
)
from asc.topology.topology import Topology

KEYWORD = BcResNet(
    base_channels=8,
    head="keyword",
    stem_strides=(2, 1),
    depths=(2, 2, 4, 4),
    frequency_strides=(1, 2, 2, 1),
    dilations=(1, 2, 4, 8),
    pools=(1, 1, 1, 1),
    bands=5,
    residual_norm="none",
)
BINS, FRAMES = 40, 101


def keyword(base_channels: int, **values: object) -> Topology:
    config = BcResNet(**{**vars_of(KEYWORD), "base_channels": base_channels, **values})  # type: ignore[arg-type]
    return describe(Architecture(family="bc_resnet", bc_resnet=config, classes=12), BINS)


def vars_of(config: BcResNet) -> dict[str, object]:
    return {name: getattr(config, name) for name in BcResNet.__slots__}


def parameters(topology: Topology) -> int:
    """Weights, biases of dense layers, and two values for what each norm normalises, as torch counts parameters."""
    total = 0
    for layer in topology.layers:
        match layer:
            case ConvNorm():
                total += layer.weights + 2 * layer.outputs * layer.norm
            case SubSpectralConv():
                total += layer.weights + 2 * layer.normed
            case Dense():
                total += layer.weights + layer.outputs
            case _:
                pass
    return total


class Plain(nn.Module):
    """The keyword network, from its paper's tables alone: no norms, no activations, which have no MACs."""

    def __init__(self, base: int, classes: int) -> None:
        super().__init__()
        stages = ((base, 2, 1), (base * 3 // 2, 2, 2), (base * 2, 4, 2), (base * 5 // 2, 4, 1))
        self.stem = nn.Conv2d(1, 2 * base, 5, (2, 1), 2)
        self.blocks = nn.ModuleList()
        channels = 2 * base
        for number, (width, depth, stride) in enumerate(stages):
            for place in range(depth):
                self.blocks.append(Block(channels, width, 1 if place else stride, 2**number))
                channels = width
        self.filter = nn.Conv2d(channels, channels, 5, padding=(0, 2), groups=channels)
        self.expand = nn.Conv2d(channels, 4 * base, 1)
        self.dense = nn.Linear(4 * base, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.dense(self.expand(self.filter(x)).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A broadcasted residual block without norms and activations."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.change = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()
        self.frequency = nn.Conv2d(width, width, (3, 1), (stride, 1), (1, 0), groups=width)
        self.time = nn.Conv2d(width, width, (1, 3), padding=(0, dilation), dilation=(1, dilation), groups=width)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        over_map = self.frequency(self.change(x))
        return over_map + self.mix(self.time(over_map.mean(dim=2, keepdim=True)))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("base_channels", "published"), [(8, 9_232), (12, 17_154), (16, 27_284), (24, 54_168), (48, 187_812), (64, 321_068)]
)
def test_the_keyword_network_has_the_published_counts(base_channels: int, published: int) -> None:
    """Those of https://github.com/Qualcomm-AI-research/bcresnet for 12 classes, tau 1 to 8; MACs are not published."""
    topology = keyword(base_channels)
    assert parameters(topology) == published
    with FlopCounterMode(display=False) as counter:
        Plain(base_channels, 12)(torch.zeros(1, 1, BINS, FRAMES))
    assert counter.get_total_flops() == 2 * macs_of(topology, FRAMES)


def test_the_network_for_scenes_has_the_published_315_thousand_parameters() -> None:
    assert parameters(describe(Architecture(family="bc_resnet"), 256)) == 314_970


def test_a_block_that_changes_the_channels_has_no_shortcut() -> None:
    topology = keyword(8)
    kinds = {
        number: [type(layer) for layer in topology.layers if layer.name.startswith(f"blocks.{number}.")]
        for number in (0, 1)
    }
    rest = [SubSpectralConv, FrequencyMean, ConvNorm, Swish, ConvNorm, Add]
    assert kinds == {0: [ConvNorm, *rest], 1: rest}
    assert topology.by_name["blocks.0.add"].reads == ("blocks.0.map", "blocks.0.mix")
    assert topology.by_name["blocks.1.add"].reads == ("blocks.1.map", "blocks.1.mix", "blocks.0.add")


def test_shapes_and_reach_of_the_keyword_network() -> None:
    topology = keyword(8)
    shapes = topology.shapes(FRAMES)
    assert shapes["stem"] == (16, 20, FRAMES)
    assert shapes["blocks.2.mean"] == (12, 1, FRAMES)
    assert shapes["blocks.11.add"] == (20, 5, FRAMES)
    assert shapes["head.filter"] == (20, 1, FRAMES)
    # stem 2, twice 1, twice 2, four times 4, four times 8, head 2
    assert topology.reach_frames == 2 + 2 + 4 + 16 + 32 + 2


def test_residual_norms_stand_where_the_config_says() -> None:
    places = {
        where: [
            layer.name
            for layer in describe(Architecture(family="bc_resnet", bc_resnet=BcResNet(residual_norm=where)), 256).layers
            if isinstance(layer, ResidualNorm)
        ]
        for where in ("none", "input", "stages")
    }
    assert places == {
        "none": [],
        "input": ["input_norm"],
        "stages": ["input_norm", "norms.0", "norms.1", "norms.2", "norms.3"],
    }


def test_pools_follow_stages_and_round_sizes_up() -> None:
    topology = describe(Architecture(family="bc_resnet"), 256)
    shapes = topology.shapes(63)
    assert [layer.name for layer in topology.layers if isinstance(layer, MaxPool)] == ["pools.0", "pools.1"]
    assert shapes["pools.0"] == (80, 64, 16) and shapes["pools.1"] == (120, 32, 8)
    assert topology.time_strides["pool"] == 8


def test_a_head_on_few_bins_has_a_lower_kernel() -> None:
    small = keyword(8, frequency_strides=(2, 2, 2, 2), norm="batch")
    head = small.by_name["head.filter"]
    assert isinstance(head, ConvNorm) and head.kernel == (2, 5)
    assert small.shapes(9)["head.filter"] == (20, 1, 9)


def test_bands_that_do_not_divide_the_bins_are_refused_in_one_sentence() -> None:
    with pytest.raises(InputError, match="bands is 4, but blocks.2.map has 10 bins, which cannot be divided") as caught:
        keyword(8, bands=4)
    assert "\n" not in str(caught.value)
    assert parameters(keyword(8, bands=4, norm="batch")) > 0


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"base_channels": 3}, "base_channels must lie between 4 and 4,096, got 3"),
        ({"depths": (2, 2)}, "frequency_strides has 4 values, but architecture.bc_resnet.depths has 2 stages"),
        ({"pools": (0, 1, 1, 1)}, "pools must lie between 1 and 8"),
        ({"dilations": (1, 1, 1, 65)}, "dilations must lie between 1 and 64"),
        ({"stem_strides": (2,)}, "stem_strides must be two values between 1 and 8"),
        ({"shortcut": 1.5}, "shortcut must lie between 0 and 1"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        BcResNet(**values)  # type: ignore[arg-type]


def test_narrowings_begin_with_the_point_and_go_down_to_4_channels() -> None:
    base = Architecture(family="bc_resnet", bc_resnet=BcResNet(base_channels=14))
    assert [values[BASE] for values in narrowings(base, {})] == [14, 12, 8, 4]
    assert [values[BASE] for values in narrowings(base, {BASE: 8})] == [8, 4]


def test_short_names_tell_networks_apart() -> None:
    assert short_name(Architecture(family="bc_resnet")) == "bcr80 ss4 scene"
    other = BcResNet(norm="batch", head="keyword")
    assert short_name(Architecture(family="bc_resnet", bc_resnet=other)) == "bcr80 bn keyword"
