"""CP-Mobile: parameters and MACs are those that were published for its code, and blocks have the right shortcuts."""

import pytest

from asc.config.architecture import Architecture, CpMobile
from asc.size.law import macs_of
from asc.topology.cp_mobile import divisible, narrowings
from asc.topology.describe import describe
from asc.topology.layers import Add, AveragePool, ConvNorm, Dense, ResponseNorm
from asc.topology.topology import Topology


def network(bins: int = 256, **values: object) -> Topology:
    return describe(Architecture(family="cp_mobile", cp_mobile=CpMobile(**values)), bins)  # type: ignore[arg-type]


def normed_channels(topology: Topology) -> int:
    """The channels of all batch norms."""
    return sum(layer.outputs for layer in topology.layers if isinstance(layer, ConvNorm | Dense))


def parameters(topology: Topology) -> int:
    """Weights, and two values for each channel of a batch norm, as torch counts parameters."""
    weights = sum(layer.weights for layer in topology.layers if isinstance(layer, ConvNorm | Dense))
    return weights + 2 * normed_channels(topology)


def response_norms(topology: Topology) -> int:
    """The parameters of the response norms, two each."""
    return 2 * sum(isinstance(layer, ResponseNorm) for layer in topology.layers)


def test_the_baseline_has_the_published_counts() -> None:
    """DCASE 2024 and 2025 baseline, input (1, 1, 256, 65): its complexity tool leaves response norms out, and counts a
    parameter of a batch norm as one MAC."""
    baseline = network()
    assert parameters(baseline) == 61_148
    assert macs_of(baseline, 65) + 2 * normed_channels(baseline) == 29_419_156
    assert parameters(baseline) + response_norms(baseline) == 61_160, "as a 2025 entry counts it"


def test_one_layer_has_the_published_counts() -> None:
    """`stages[0].b3.block[1]`: 704 parameters, 331,904 MACs."""
    layer, shapes = network().by_name["blocks.2.depthwise"], network().shapes(65)
    assert isinstance(layer, ConvNorm) and layer.groups == layer.outputs == 64
    assert layer.weights + 2 * layer.outputs == 704
    _, bins, frames = shapes[layer.name]
    assert layer.weights * bins * frames + 2 * layer.outputs == 331_904


def test_a_larger_one_has_the_published_parameters() -> None:
    larger = network(base_channels=32, channels_multiplier=2.3, expansion_rate=3.0)
    assert parameters(larger) + response_norms(larger) == 126_952
    folded = sum(layer.weights + layer.outputs for layer in larger.layers if isinstance(layer, ConvNorm | Dense))
    assert folded + response_norms(larger) == 124_862


def test_a_block_adds_its_input_if_the_channels_agree_and_pools_it_if_it_strides() -> None:
    kinds = {
        number: [type(layer) for layer in network().layers if layer.name.startswith(f"blocks.{number}.")]
        for number in range(6)
    }
    three = [ConvNorm, ConvNorm, ConvNorm]
    assert kinds[0] == kinds[1] == kinds[4] == [*three, Add, ResponseNorm]
    assert kinds[2] == [*three, AveragePool, Add, ResponseNorm], "stride (1, 2), 32 channels in and out"
    assert kinds[3] == kinds[5] == [*three, ResponseNorm], "other channels"


@pytest.mark.parametrize(("channels", "rounded"), [(1, 8), (11.9, 16), (57.6, 56), (103.68, 104), (67.2, 64), (12, 16)])
def test_channels_are_rounded_to_multiples_of_8_but_never_by_more_than_a_tenth_down(
    channels: float, rounded: int
) -> None:
    assert divisible(channels) == rounded


def test_narrowings_begin_with_the_point_and_go_down_to_8_channels() -> None:
    base = Architecture(family="cp_mobile")
    found = [values["architecture.cp_mobile.base_channels"] for values in narrowings(base, {})]
    assert found == [32, 24, 16, 8]
    drawn = narrowings(base, {"architecture.cp_mobile.base_channels": 20})
    assert [values["architecture.cp_mobile.base_channels"] for values in drawn] == [20, 16, 8]
