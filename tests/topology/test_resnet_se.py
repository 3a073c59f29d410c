"""How the residual network is named and narrowed, and what it may grow."""

import pytest

from asc.config.architecture import Architecture
from asc.config.experiment import Experiment
from asc.errors import InputError
from asc.topology.describe import describe, fitted, kind_of, narrowings, short_name
from asc.topology.layers import Add, ConvNorm, Layer, ResidualNorm, SqueezeExcite
from asc.topology.topology import Topology
from asc.typed import Value

BASE = Architecture(widths=(8, 16), cardinality=4)


def widths(values: dict[str, Value]) -> list[Value]:
    return [changes["architecture.widths"] for changes in narrowings(BASE, values)]


def test_widths_shrink_together_to_multiples_of_the_cardinality() -> None:
    assert widths({}) == [(8, 16), (4, 12), (4, 8), (4, 4)]
    assert widths({"architecture.widths": (6, 13)})[0] == (4, 12)
    assert widths({"architecture.widths.0": 4, "architecture.widths.1": 4, "architecture.cardinality": 8}) == [(8, 8)]


def test_a_stage_that_is_not_sampled_keeps_the_base_width() -> None:
    assert widths({"architecture.widths.1": 8})[0] == (8, 8)


def test_its_short_name_gives_widths_and_cardinality() -> None:
    assert short_name(BASE) == "w8-16 c4"
    grown = Architecture(
        depths=(2, 4),
        kernel="1x3+3x1",
        stem_kernel=5,
        se_stages="last",
        residual_norm="stages",
        residual_norm_lambda=0.3,
    )
    assert short_name(grown) == "w24-48 c4 d2-4 1x3 s5 se1 rn"


def test_a_model_card_says_what_differs_from_the_report() -> None:
    assert kind_of(Architecture()) == "residual network"
    grown = Architecture(kernel="1x3+3x1", stem_kernel=5, se_stages="none", residual_norm="stages")
    assert kind_of(grown) == (
        "residual network (pairs of 1x3 and 3x1 convolutions; 5x5 input convolution; no SE; residual normalisation, "
        "lambda 0.1)"
    )


def of_kind(topology: Topology, kind: type[Layer]) -> list[str]:
    return [layer.name for layer in topology.layers if isinstance(layer, kind)]


def convolutions(topology: Topology) -> dict[str, ConvNorm]:
    return {layer.name: layer for layer in topology.layers if isinstance(layer, ConvNorm)}


def test_a_pair_stands_in_place_of_each_convolution_of_a_block_and_strides_along_its_own_axis() -> None:
    whole, pairs = (convolutions(describe(Architecture(kernel=kernel), 128)) for kernel in ("3x3", "1x3+3x1"))  # type: ignore[arg-type]
    assert pairs.pop("stem") == whole.pop("stem")
    for name, replaced in whole.items():
        time, frequency = pairs.pop(f"{name}.time"), pairs.pop(f"{name}.frequency")
        assert (time.kernel, frequency.kernel) == ((1, 3), (3, 1))
        assert (time.stride, frequency.stride) == ((1, replaced.stride[1]), (replaced.stride[0], 1))
        assert (time.reads[0].startswith("blocks.") or time.reads == ("stem",)) and frequency.reads == (time.name,)
        assert time.groups == frequency.groups == replaced.groups and time.relu and frequency.relu
        assert (time.inputs, frequency.outputs) == (replaced.inputs, replaced.outputs)
    assert not pairs
    shapes = [describe(Architecture(kernel=kernel), 128).shapes(50)["pool"] for kernel in ("3x3", "1x3+3x1")]  # type: ignore[arg-type]
    assert shapes == [(1536,), (1536,)]


def test_the_kernel_of_the_stem() -> None:
    larger, report = describe(Architecture(stem_kernel=5), 128), describe(Architecture(), 128)
    assert convolutions(larger)["stem"].kernel == (5, 5)
    assert larger.reach_frames == report.reach_frames + 1
    assert larger.layers[2:] == report.layers[2:]


def test_where_se_stands() -> None:
    last, none = (describe(Architecture(se_stages=stages), 128) for stages in ("last", "none"))  # type: ignore[arg-type]
    assert of_kind(last, SqueezeExcite) == ["blocks.3.se", "blocks.4.se", "blocks.5.se"]
    assert not of_kind(none, SqueezeExcite)
    assert none.by_name["blocks.1.add"] == Add(name="blocks.1.add", reads=("blocks.1.conv2", "blocks.1.skip"))


def test_residual_norms_stand_after_the_stem_and_each_stage_but_the_last() -> None:
    topology = describe(Architecture(residual_norm="stages", residual_norm_lambda=0.2), 128)
    norms = [layer for layer in topology.layers if isinstance(layer, ResidualNorm)]
    assert [(norm.name, *norm.reads) for norm in norms] == [
        ("stem_norm", "stem"),
        ("blocks.2.norm", "blocks.2.add"),
    ]
    assert {norm.shortcut for norm in norms} == {0.2}
    assert topology.by_name["blocks.0.conv1"].reads == ("stem_norm",)
    assert topology.pool.reads == ("blocks.5.add",)


@pytest.mark.parametrize(
    ("values", "depths", "strides"),
    [
        ({"architecture.depths.0": 2}, (2, 3), (2, 2, 2, 1, 1)),
        ({"architecture.depths.1": 1}, (3, 1), (2, 2, 1, 2)),
        ({"architecture.depths.0": 4, "architecture.depths.1": 2}, (4, 2), (2, 2, 1, 1, 2, 1)),
        ({"architecture.depths.0": 1, "architecture.frequency_strides": (1, 2, 3, 4, 5, 6)}, (1, 3), (1, 4, 5, 6)),
        ({"architecture.depths.0": 2, "architecture.frequency_strides.3": 4}, (2, 3), (2, 2, 4, 1, 1)),
        ({"architecture.depths.0": 3}, (3, 3), (2, 2, 1, 2, 1, 1)),
    ],
)
def test_a_stage_of_another_depth_keeps_its_first_strides_and_goes_on_with_1(
    values: dict[str, Value], depths: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    architecture = Experiment().updated(fitted(Architecture(), values)).architecture
    assert (architecture.depths, architecture.frequency_strides) == (depths, strides)
    assert len(architecture.time_strides) == sum(depths)


def test_values_without_depths_by_stage_stay_as_they_are() -> None:
    values: dict[str, Value] = {"architecture.depths": (1, 1), "architecture.frequency_strides": (2, 2)}
    assert fitted(Architecture(), values) == values
    with pytest.raises(
        InputError, match="architecture.time_strides has 6 values, but architecture.depths has 2 blocks"
    ):
        Experiment().updated(fitted(Architecture(), values))


def test_strides_that_do_not_match_the_reference_are_refused_where_depths_are_drawn() -> None:
    values: dict[str, Value] = {"architecture.depths.0": 1, "architecture.time_strides": (2, 2, 1, 1)}
    with pytest.raises(
        InputError, match="architecture.time_strides has 4 values, but .* of the reference has 6 blocks"
    ):
        fitted(Architecture(), values)
