"""The inputs of an ONNX function of the 8-bit form: their names, and the numbers that a call passes.

A tensor costs 17 bytes in addition to its numbers. So a packed function takes vectors of the same length and type as
one tensor, which is split when the file is loaded. Packed are the weight scales with SE's last bias, the biases, and
the steps of the inner grids.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from asc.export.onnx_functions import Call
from asc.export.onnx_text import FunctionText
from asc.topology.layers import (
    Add,
    AveragePool,
    BandNorm,
    ConvNorm,
    Dense,
    FrequencyMean,
    Input,
    Layer,
    MaxPool,
    MeanPool,
    Projection,
    ResidualNorm,
    ResponseNorm,
    SqueezeExcite,
    StatisticsPool,
    SubSpectralConv,
    Swish,
    has_bias,
)
from asc.topology.topology import Topology

Key = Literal[
    "weight",
    "weight_scale",
    "bias",
    "band_scale",
    "band_shift",
    "reduce.weight",
    "reduce.bias",
    "expand.weight",
    "expand.bias",
    "norm.weight",
    "norm.bias",
    "scale",
    "zero",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One number, vector or tensor of a layer, which is layer number `place` (from 0) of its function."""

    layer: Layer
    key: Key
    place: int

    @property
    def identifier(self) -> str:
        """Its name in the function."""
        return f"{self.key.replace('.', '_')}_{self.place}"

    @property
    def vector(self) -> tuple[str, int] | None:
        """The type and length of a vector that can be packed (one value per output channel); None for others."""
        match self.layer, self.key:
            case (ConvNorm() | Projection() | Dense()) as layer, "weight_scale":
                return "float", layer.outputs
            case SqueezeExcite() as layer, "expand.bias":
                return "float", layer.channels
            case (ConvNorm() | Projection() | Dense()) as layer, "bias":
                return "int", layer.outputs
            case _:
                return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An input of a function; one without members belongs to the tensor that the function reads."""

    identifier: str
    members: tuple[Member, ...] = ()

    @property
    def constant(self) -> str:
        """The name of its numbers in the graph."""
        return ".".join(f"{member.layer.name}.{member.key}" for member in self.members)

    def split(self, text: FunctionText) -> None:
        """Write the node that splits packed members."""
        steps = self.members[0].key == "scale"
        names = [f"at_{member.place}" if steps else member.identifier for member in self.members]
        text.nodes("Split", [self.identifier], names)

    def squeeze(self, text: FunctionText) -> None:
        """Write the nodes that turn split steps, vectors of length 1, into scalars."""
        for member in self.members:
            text.node("Squeeze", f"at_{member.place}", output=member.identifier)


def parameters(call: Call, topology: Topology) -> tuple[Parameter, ...]:
    """Return the inputs of the function that a call calls, in order."""
    members = [member for place, layer in enumerate(call.layers) for member in _members(layer, place)]
    zeros = [member for member in members if member.key == "zero" and member.layer.name not in topology.nonnegative]
    others = [member for member in members if member.key != "zero"]
    x = Parameter(identifier="x"), Parameter(identifier="x_step")
    taken = _packed(others, call.layers[-1]) if call.packed else map(_alone, others)
    return (*x, *taken, Parameter(identifier="x_zero"), *map(_alone, zeros))


def created(call: Call, asked: Sequence[Parameter]) -> list[Parameter]:
    """Return the parameters that have numbers, in the order in which the file holds these."""
    last = call.layers[-1]

    def rank(one: Parameter) -> int:
        member = one.members[0]
        if not call.packed:
            return 0 if isinstance(member.layer, SqueezeExcite) and member.key not in ("scale", "zero") else 1
        of_last = member.layer == last and len(one.members) == 1
        return {"zero": 3 if of_last else 1, "scale": 2 if of_last else 0}.get(member.key, 0)

    return sorted((one for one in asked if one.members), key=rank)


def _alone(member: Member) -> Parameter:
    return Parameter(identifier=member.identifier, members=(member,))


def _packed(members: Sequence[Member], last: Layer) -> Iterator[Parameter]:
    """Yield the weights, then what is packed, the rest, and the step of the last layer."""
    vectors: dict[tuple[str, int], list[Member]] = {}
    for member in (*(m for m in members if m.key != "expand.bias"), *(m for m in members if m.key == "expand.bias")):
        if member.vector is not None:
            vectors.setdefault(member.vector, []).append(member)
    groups = sorted(vectors.items(), key=lambda group: group[0][0])  # float before int
    inner = [member for member in members if member.key == "scale" and member.layer != last]
    yield from (_alone(member) for member in members if member.key == "weight")
    for number, group in enumerate([*(group for _, group in groups), inner]):
        if group:
            yield Parameter(identifier=f"packed_{number}", members=tuple(group)) if len(group) > 1 else _alone(group[0])
    rest = ("reduce.weight", "reduce.bias", "expand.weight", "norm.weight", "norm.bias", "band_scale", "band_shift")
    yield from (_alone(member) for member in members if member.key in rest)
    yield from (_alone(member) for member in members if member.key == "scale" and member.layer == last)


def _members(layer: Layer, place: int) -> Iterator[Member]:
    keys: tuple[Key, ...]
    match layer:
        case ConvNorm() | Projection() | Dense():
            keys = ("weight", "weight_scale", "bias") if has_bias(layer) else ("weight", "weight_scale")
        case SubSpectralConv():
            keys = ("weight", "band_scale", "band_shift")
        case SqueezeExcite():
            keys = ("reduce.weight", "reduce.bias", "expand.weight", "expand.bias")
        case ResponseNorm():
            keys = ("norm.weight", "norm.bias")
        case AveragePool() | MaxPool():
            return  # it is on the grid of its input
        case BandNorm() | Input() | ResidualNorm() | Add() | Swish() | FrequencyMean() | StatisticsPool() | MeanPool():
            keys = ()
        case _:
            assert_never(layer)
    for key in (*keys, "scale", "zero"):
        yield Member(layer=layer, key=key, place=place)
