"""Shapes, strides and reach of a topology, against numbers worked out by hand."""

import subprocess
import sys

import pytest

from asc.config.architecture import Architecture
from asc.config.experiment import Experiment
from asc.topology.describe import describe, topology_of
from asc.topology.layers import LOG_MEL, Add, BandNorm, ConvNorm, Dense, Input, Layer, Projection, StatisticsPool
from asc.topology.topology import Topology

SMALL = Architecture(
    widths=(4, 6),
    depths=(1, 2),
    se_bottlenecks=(2, 3),
    frequency_strides=(2, 1, 3),
    time_strides=(1, 2, 2),
    cardinality=2,
    classes=5,
)


def test_the_reference_matches_the_report() -> None:
    topology = topology_of(Experiment())
    names = [layer.name for layer in topology.layers]
    assert names[:5] == ["input", "stem", "blocks.0.conv1", "blocks.0.conv2", "blocks.0.se"]
    assert names[-7:] == [*(f"blocks.5.{part}" for part in ("conv1", "conv2", "se", "skip", "add")), "pool", "dense"]
    assert topology.classifier == Dense(name="dense", reads=("pool",), inputs=1536, outputs=10)
    assert topology.reach_frames == 62, "worked out by hand from kernels of 3 and strides of 2, 2, 1, 2, 1, 1"
    widths = [(layer.inputs, layer.outputs) for layer in topology.layers if isinstance(layer, Projection)]
    assert widths == [(24, 24), (24, 24), (24, 48), (48, 48), (48, 48)], "only the first block has no skip"
    assert [gate.bottleneck for gate in topology.gates] == [4, 4, 4, 8, 8, 8]
    assert topology.by_name["blocks.3.conv2"] == ConvNorm(
        name="blocks.3.conv2", reads=("blocks.3.conv1",), inputs=48, outputs=48, groups=4
    )


def test_shapes_round_strides_up() -> None:
    shapes = describe(SMALL, 9).shapes(7)
    assert shapes[LOG_MEL] == (1, 9, 7)
    assert shapes["stem"] == (4, 9, 7)
    assert shapes["blocks.0.se"] == (4, 5, 7)
    assert shapes["blocks.1.add"] == shapes["blocks.1.skip"] == (6, 5, 4)
    assert shapes["blocks.2.add"] == (6, 2, 2)
    assert shapes["pool"] == (24,) and shapes["dense"] == (5,)
    assert describe(SMALL, 9).classifier.inputs == 24


def test_strides_and_reach_in_time() -> None:
    topology = describe(SMALL, 9)
    assert [topology.time_strides[gate.name] for gate in topology.gates] == [1, 2, 4]
    assert topology.time_strides["pool"] == 4
    # stem 1; block 0: 1 + 1; block 1: 1, then 1 step of 2 frames; block 2: 1 step of 2 frames, then 1 of 4
    assert topology.reach_frames == 1 + 2 + 3 + 6


def test_which_layers_have_nonnegative_outputs() -> None:
    topology = describe(SMALL, 9)
    signed = {"input", "blocks.1.skip", "blocks.1.add", "blocks.2.skip", "blocks.2.add", "pool", "dense"}
    assert topology.nonnegative == {layer.name for layer in topology.layers} - signed


@pytest.mark.parametrize("family", ["resnet_se", "cp_mobile"])
def test_bands_are_standardised_in_front_of_any_family(family: str) -> None:
    plain = Experiment().updated({"architecture.family": family})
    bands, first, *rest = topology_of(plain.updated({"front_end.normalisation": "per_band"})).layers
    assert bands == BandNorm(name="bands", bins=128) and first == Input(name="input", reads=("bands",))
    assert (Input(name="input"), *rest) == topology_of(plain).layers


def test_a_walk_gives_each_layer_its_inputs() -> None:
    seen: list[tuple[str, tuple[str, ...]]] = []

    def value_of(layer: Layer, read: tuple[str, ...]) -> str:
        seen.append((layer.name, read))
        return layer.name

    assert describe(SMALL, 9).walk(value_of, LOG_MEL) == "dense"
    assert dict(seen)["blocks.1.add"] == ("blocks.1.se", "blocks.1.skip")
    assert all(read == layer.reads for (_, read), layer in zip(seen, describe(SMALL, 9).layers, strict=True))


def test_a_walk_can_stop_early() -> None:
    topology = describe(SMALL, 9)
    assert topology.walk(lambda layer, read: layer.name, LOG_MEL, topology.before_pool) == "blocks.2.add"


@pytest.mark.parametrize(
    "layers, problem",
    [
        ((Input(name="input"), Input(name="input")), "two layers are named input"),
        (
            (Add(name="add", reads=("later", LOG_MEL)), StatisticsPool(name="later", reads=(LOG_MEL,))),
            "add reads layers",
        ),
    ],
)
def test_layers_that_cannot_run_are_refused(layers: tuple[Layer, ...], problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        Topology(layers=layers, bins=9)


def test_it_imports_neither_torch_numpy_nor_ray() -> None:
    code = "import sys, asc.topology.describe; print([n for n in ('torch', 'numpy', 'ray') if n in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
