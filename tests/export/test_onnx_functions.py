"""Repeated parts of a network, of any family, are found and written once as functions."""

from asc.config.experiment import Experiment
from asc.export.onnx_functions import Call, Part, functions_of, parts_of
from asc.topology.describe import topology_of
from asc.topology.layers import Add, ConvNorm, Dense, Input, Layer, SqueezeExcite, StatisticsPool
from asc.topology.topology import Topology


def names(parts: tuple[Part, ...]) -> list[str]:
    return [part.function if isinstance(part, Call) else part.name for part in parts]


def chain(*middle: Layer) -> Topology:
    last = middle[-1].name
    layers = (Input(name="input"), *middle, StatisticsPool(name="pool", reads=(last,)))
    return Topology(layers=(*layers, Dense(name="dense", reads=("pool",), inputs=8, outputs=2)), bins=1)


def conv(name: str, reads: str, *, inputs: int = 4, **options: object) -> ConvNorm:
    return ConvNorm(name=name, reads=(reads,), inputs=inputs, outputs=4, **options)  # type: ignore[arg-type]


def test_the_blocks_of_the_reference_are_one_function_that_calls_another() -> None:
    parts = parts_of(topology_of(Experiment()))
    assert names(parts) == ["input", "stem", "B", "S", "S", "S", "S", "S", "pool", "dense"]
    functions = functions_of(parts)
    assert list(functions) == ["B", "S"], "a function must come before its callers"
    assert names(functions["S"].parts) == ["B", "blocks.1.skip", "blocks.1.add"]
    assert [part.stride for part in parts if isinstance(part, Call)] == [
        (2, 2),
        (2, 2),
        (1, 1),
        (2, 2),
        (1, 1),
        (1, 1),
    ]
    assert functions["S"].packed and not functions["B"].packed


def test_parts_that_occur_once_are_not_functions() -> None:
    gate = SqueezeExcite(name="gate", reads=("one",), channels=4, bottleneck=2)
    assert functions_of(parts_of(chain(conv("one", "input", inputs=1), gate))) == {}


def test_layers_with_different_kernels_are_not_one_function() -> None:
    alike = chain(*(conv(f"c{n}", f"c{n - 1}" if n else "input", inputs=4 if n else 1) for n in range(5)))
    assert list(functions_of(parts_of(alike))) == ["B"]
    kernels = ((3, 3), (1, 3), (5, 1), (3, 5), (1, 1))
    odd = (conv(f"c{n}", f"c{n - 1}" if n else "input", inputs=4 if n else 1, kernel=k) for n, k in enumerate(kernels))
    assert functions_of(parts_of(chain(*odd))) == {}


def test_branches_with_different_strides_are_not_one_function() -> None:
    """A function has one stride, so blocks whose branches have different strides must not share one."""

    def branched(number: int, reads: str, stride: tuple[int, int], inputs: int = 4) -> list[Layer]:
        left = conv(f"{number}.left", reads, inputs=inputs, stride=stride)
        right = conv(f"{number}.right", reads, inputs=inputs, stride=(1, 1))
        return [left, right, Add(name=f"{number}.add", reads=(left.name, right.name))]

    stem = conv("stem", "input", inputs=1)
    same = chain(stem, *branched(1, "stem", (1, 1)), *branched(2, "1.add", (1, 1)))
    assert list(functions_of(parts_of(same))) == ["S"]
    apart = chain(stem, *branched(1, "stem", (2, 1)), *branched(2, "1.add", (1, 2)))
    assert functions_of(parts_of(apart)) == {}
