"""The graph writer: short names, shared constants, functions, omitted inputs."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser

from asc.export.onnx_graph import DOMAIN, Graph

AFFINE = f"""<domain: "{DOMAIN}", opset_import: ["": 13]>
Affine <to> (value, factor, offset) => (result) {{
    scaled = Mul (value, factor)
    moved = Add (scaled, offset)
    result = Cast <to: int = @to> (moved)
}}"""


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def model(graph: Graph) -> onnx.ModelProto:
    return graph.model({"x": ("n",)}, {"y": ("n",)}, opset=13, metadata={"a": "b"}, compact=True)


def many(count: int) -> Graph:
    """A graph that adds 0, 1, 2 ... to its input."""
    graph, value = Graph(), "x"
    for number in range(count):
        value = graph.node("Add", value, graph.constant(f"number {number}", np.float32(number)))
    graph.node("Identity", value, output="y")
    return graph


def test_names_are_short_c_identifiers_but_inputs_and_outputs_keep_theirs() -> None:
    built = model(many(80))
    names = {tensor.name for tensor in built.graph.initializer} | {n.output[0] for n in built.graph.node}
    assert len(names) == 161 and {"y"} <= names and "x" not in names
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]?", name) for name in names)
    assert sum(len(name) == 1 for name in names) == 52  # 52 letters and the underscore, minus x
    assert run(built, np.array([1, 2], np.float32)).tolist() == [3161, 3162]


def test_the_most_used_name_is_the_shortest() -> None:
    graph = many(60)
    often, value = graph.constant("often", np.float32(1)), "x"
    for _ in range(5):
        value = graph.node("Mul", value, often)
    built = model(graph)
    (tensor,) = [t for t in built.graph.initializer if [often_used(built, t.name)] == [5]]
    assert len(tensor.name) == 1


def often_used(built: onnx.ModelProto, name: str) -> int:
    return sum(list(node.input).count(name) for node in built.graph.node)


def test_equal_numbers_and_equal_nodes_are_written_once() -> None:
    graph = Graph()
    one = graph.node("Mul", "x", graph.number(2.0))
    other = graph.node("Mul", "x", graph.number(2.0))
    assert one == other
    assert graph.number(2) != graph.number(2.0) != graph.double(2.0), "types differ"
    assert graph.whole(1, 2) == graph.whole(1, 2) != graph.whole(1)
    assert graph.node("Clip", "x", graph.number(2.0)) != graph.node("Clip", "x", "", graph.number(2.0))
    assert graph.node("Concat", "x", axis=0) != graph.node("Concat", "x", axis=1)


def test_scalars_stay_scalars() -> None:
    graph = Graph()
    graph.node("Add", "x", graph.number(1.5), output="y")
    graph.constant("seen", np.zeros((2, 3), np.int8).T)
    shapes = [tuple(tensor.dims) for tensor in model(graph).graph.initializer]
    assert shapes == [(), (3, 2)]


def test_functions_are_called_with_attributes() -> None:
    graph = Graph()
    graph.functions(AFFINE)
    graph.node("Affine", "x", graph.number(2.0), graph.number(0.5), output="y", to=onnx.TensorProto.FLOAT)
    built = model(graph)
    (function,) = built.functions
    assert sorted([*function.input, *(node.output[0] for node in function.node)]) == list("abcdef")
    assert run(built, np.array([1, -3], np.float32)).tolist() == [2.5, -5.5]


def test_omitted_trailing_inputs_are_not_written() -> None:
    graph = Graph()
    graph.node("Clip", "x", graph.number(0.0), "", output="y")
    (node,) = model(graph).graph.node
    assert len(node.input) == 2


def test_an_invalid_graph_is_refused() -> None:
    graph = Graph()
    graph.node("Add", "x", "nowhere", output="y")
    with pytest.raises(onnx.checker.ValidationError, match="not output of any previous nodes"):
        model(graph)


def test_an_invalid_function_text_is_refused() -> None:
    with pytest.raises(parser.ParseError):
        Graph().functions("L (x) => (y) { y = }")
