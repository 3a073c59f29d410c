"""Says where the bytes of an ONNX file go: to the numbers that the network stores, and to everything around them.

The format is Protocol Buffers (https://protobuf.dev/programming-guides/encoding): a field starts with a tag and, if it
is a message or bytes, a length. What a number is for follows from the operators that read it, after inlining functions.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import ModelProto, NodeProto, TensorProto, inliner

_CONSTANTS = "numbers that operators need"


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRow:
    """One kind of content of a file and its size; `stored` if it is numbers of the network itself."""

    name: str
    size_bytes: int
    stored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteAccount:
    """Rows that sum to the whole file, numbers of the network first.

    These take fewer bytes than the size law counts, because zeros and folded norms are left out.
    """

    rows: tuple[ByteRow, ...]


def byte_account(data: bytes) -> ByteAccount:
    """Account for the bytes of an ONNX file made by `build_onnx`; the rows sum to exactly `len(data)`.

    Raises:
        google.protobuf.message.DecodeError: the data are not an ONNX file.
    """
    model = onnx.load_from_string(data)
    roles, graph = _roles(model), model.graph
    stored = Counter[str]()
    around = Counter({_CONSTANTS: 0})
    for tensor in graph.initializer:
        parts = roles[tensor.name]
        for role in parts:
            (around if role == _CONSTANTS else stored)[role] += len(tensor.raw_data) // len(parts)
        names = _text(tensor.name)
        around["names of numbers"] += names
        around["types, shapes and lengths of numbers"] += _part(tensor.ByteSize()) - len(tensor.raw_data) - names
    for node in graph.node:
        names = sum(map(_text, (*node.input, *node.output)))
        around["nodes: names of tensors"] += names
        around["nodes: operators and attributes"] += _part(node.ByteSize()) - names
    around["functions"] = sum(_part(function.ByteSize()) + 1 for function in model.functions)
    around["inputs and outputs"] = sum(_part(value.ByteSize()) for value in (*graph.input, *graph.output))
    for entry in model.metadata_props:
        around[f"metadata: {entry.key}"] = _part(entry.ByteSize())
    around["versions and frame"] = len(data) - stored.total() - around.total()
    return ByteAccount(rows=(*_rows(stored, stored=True), *_rows(around, stored=False)))


def _rows(sizes: Counter[str], *, stored: bool) -> Iterator[ByteRow]:
    return (ByteRow(name=name, size_bytes=size, stored=stored) for name, size in sizes.items())


def _text(text: str) -> int:
    return _part(len(text.encode()))


def _part(size_bytes: int) -> int:
    """Bytes of a part with its tag and its length, which takes one byte per seven bits."""
    return 1 + max(1, -(-size_bytes.bit_length() // 7)) + size_bytes


_Takers = Mapping[str, Sequence[tuple[NodeProto, int]]]


def _roles(model: ModelProto) -> dict[str, list[str]]:
    """Return what each initialiser is for, by name: one role for each equal part that the tensor is split into."""
    graph = inliner.inline_local_functions(model).graph
    takers: dict[str, list[tuple[NodeProto, int]]] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            takers.setdefault(name, []).append((node, place))
    return {tensor.name: [role or _CONSTANTS for role in _found(tensor, takers)] for tensor in graph.initializer}


def _found(tensor: TensorProto, takers: _Takers) -> list[str | None]:
    for node, _ in takers.get(tensor.name, ()):
        if node.op_type == "Split":
            return [_first(name, tensor, takers) for name in node.output]
    return [_first(tensor.name, tensor, takers)]


def _first(name: str, tensor: TensorProto, takers: _Takers) -> str | None:
    """Return the role of a value, from the first operator that tells it.

    Casts are followed. Only activation scales are squeezed, so a squeeze tells the role.
    """
    for node, place in takers.get(name, ()):
        if node.op_type == "Squeeze":
            return "activation scales"
        role = _first(node.output[0], tensor, takers) if node.op_type == "Cast" else _role(tensor, node, place)
        if role:
            return role
    return None


def _role(tensor: TensorProto, node: NodeProto, place: int) -> str | None:
    """Return what a number is for that an operator takes as input `place`; None if that does not tell."""
    half = tensor.data_type == TensorProto.FLOAT16
    match node.op_type, place:
        case "DequantizeLinear", 0:
            return "biases" if tensor.data_type == TensorProto.INT32 else "weights"
        case (("QuantizeLinear" | "DequantizeLinear"), 1):
            return "weight scales" if tensor.dims else "activation scales"
        case (("QuantizeLinear" | "DequantizeLinear"), 2):
            # The zero points of weights (128 for each output channel) belong to the export, not to the network.
            return None if tensor.dims else "activation zero points"
        case "Conv", 1:
            return "weights" if half else "SE weights and biases"
        case "Conv", 2:
            return "biases" if half else "SE weights and biases"
        case (("Sub" | "Div"), 1) if tensor.dims:
            return "means and deviations of the bands"
        case "BatchNormalization", _:
            return "SE bottleneck batch norm"
        case _:
            return None
