"""Writes ONNX graphs in few bytes: repeated layers become functions, and names are as short as possible.

ONNX IR, https://github.com/onnx/onnx/blob/main/docs/IR.md: names are C identifiers. A model's own functions need IR
version 8. Their attributes have no default values: IR version 9 allows these, but onnx's inliner drops them. Graphs are
built with readable names; the last step replaces these, giving the shortest to the most used.
"""

import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, product
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, helper, numpy_helper, parser

from asc.export.onnx_flat import written_out

DOMAIN = "asc"
IR_VERSION = 8
_FIRST = string.ascii_letters + "_"
_OTHERS = _FIRST + string.digits


class Graph:
    """Collects constants and nodes in execution order; an empty name stands for an input that is left out."""

    def __init__(self) -> None:
        """Start an empty graph."""
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._functions: dict[str, FunctionProto] = {}
        self._known: dict[tuple[str | bytes, ...], str] = {}

    def functions(self, *texts: str) -> None:
        """Add functions in ONNX's text form, in the domain `DOMAIN`; a function must come before its callers.

        Raises:
            onnx.parser.ParseError: a text is not a function.
        """
        for text in texts:
            function = parser.parse_function(text)
            self._functions[function.name] = function

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add an initialiser and return its name."""
        assert name not in self._constants, f"the graph already has an initialiser {name}"
        self._constants[name] = values
        return name

    def number(self, value: int | float) -> str:
        """Return the name of a scalar, int64 or float32; equal ones share an initialiser."""
        return self._shared(np.asarray(value, np.int64 if isinstance(value, int) else np.float32))

    def double(self, value: float) -> str:
        """Return the name of a float64 scalar; equal ones share an initialiser."""
        return self._shared(np.asarray(value, np.float64))

    def whole(self, *values: int) -> str:
        """Return the name of an int64 vector; equal ones share an initialiser."""
        return self._shared(np.asarray(values, np.int64))

    def _shared(self, values: NDArray[Any]) -> str:
        name = f"{values.dtype}.{values.tolist()}"
        self._constants.setdefault(name, values)
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node for an operator or one of the functions, and return the name of its output."""
        given = list(inputs)
        while given and not given[-1]:
            given.pop()
        name = output or f"{operator}.{len(self._nodes)}"
        domain = DOMAIN if operator in self._functions else None
        node = helper.make_node(operator, given, [name], domain=domain, **attributes)
        # A node that does the same as an earlier one is replaced by it.
        content = node.op_type, *node.input, *(a.SerializeToString(deterministic=True) for a in node.attribute)
        if not output and content in self._known:
            return self._known[content]
        self._known[content] = name
        self._nodes.append(node)
        return name

    def model(
        self,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Mapping[str, Sequence[int | str]],
        *,
        opset: int,
        metadata: Mapping[str, str],
        compact: bool,
    ) -> ModelProto:
        """Return the model; inputs and outputs are float32 of these shapes, where a name is a length that may vary.

        A compact model has functions; otherwise they are inlined.

        Raises:
            onnx.checker.ValidationError: the model is not valid.
        """
        graph = helper.make_graph(
            self._nodes, DOMAIN, _values(inputs), _values(outputs), list(map(_tensor, self._constants.items()))
        )
        opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(DOMAIN, 1)] * bool(self._functions)
        functions = list(self._functions.values())
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, functions=functions, producer_name=DOMAIN
        )
        helper.set_model_props(model, dict(metadata))
        model = model if compact else written_out(model)
        _shorten_graph(model.graph)
        for function in model.functions:
            _shorten_function(function)
        onnx.checker.check_model(model, full_check=True)
        return model


def _values(shapes: Mapping[str, Sequence[int | str]]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]


def _tensor(item: tuple[str, NDArray[Any]]) -> onnx.TensorProto:
    name, values = item
    return numpy_helper.from_array(np.asarray(values, order="C"), name)


def _shorten_graph(graph: GraphProto) -> None:
    """Shorten all names in a graph except those of its inputs and outputs."""
    kept = [value.name for value in (*graph.input, *graph.output)]
    names = _short_names([tensor.name for tensor in graph.initializer], graph.node, kept)
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    _rename(graph.node, names)


def _shorten_function(function: FunctionProto) -> None:
    names = _short_names([*function.input, *function.output], function.node, [])
    function.input[:] = [names[name] for name in function.input]
    function.output[:] = [names[name] for name in function.output]
    _rename(function.node, names)


def _short_names(declared: Iterable[str], nodes: Iterable[NodeProto], kept: Sequence[str]) -> dict[str, str]:
    """Map each name to its new name; the most used names get the shortest ones."""
    uses = Counter(declared)
    for node in nodes:
        uses.update((*node.input, *node.output))
    free = (name for name in _identifiers() if name not in kept)
    renamed = (name for name, _ in uses.most_common() if name and name not in kept)
    return {**dict(zip(renamed, free, strict=False)), **{name: name for name in (*kept, "")}}


def _rename(nodes: Iterable[NodeProto], names: dict[str, str]) -> None:
    for node in nodes:
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
        if not node.domain:
            node.ClearField("domain")


def _identifiers() -> Iterator[str]:
    for length in count(1):
        for first, *others in product(_FIRST, *[_OTHERS] * (length - 1)):
            yield "".join((first, *others))
