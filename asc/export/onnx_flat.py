"""A model without functions of its own, for the many runtimes that know none: calls are written out.

`onnx.inliner` does so. After it, what the functions computed from stored numbers alone (splits, shapes, zero points) is
computed here: importers look for scales and zero points among the initialisers. The scales of biases, products of two,
stay nodes: every importer that was tried computes them (docs/runtimes.md), and they would be 2,632 bytes of `qat_8b`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, inliner, numpy_helper
from onnx.reference import ReferenceEvaluator

IR_VERSION = 7
"""What opset 13 came with (https://github.com/onnx/onnx/blob/main/docs/Versioning.md)."""
_COMPUTED = ("Split", "Squeeze", "Shape", "ConstantOfShape")


def written_out(model: ModelProto) -> ModelProto:
    """The same model without functions."""
    flat = inliner.inline_local_functions(model)
    flat.ir_version = IR_VERSION
    for opset in [opset for opset in flat.opset_import if opset.domain]:
        flat.opset_import.remove(opset)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in flat.graph.initializer}
    same: dict[str, str] = {}
    kept: list[NodeProto] = []
    for node in flat.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        while node.input and not node.input[-1]:
            # The inliner writes what a call leaves out as an empty name.
            del node.input[-1]
        if node.op_type not in _COMPUTED or any(name not in values for name in node.input):
            kept.append(node)
            continue
        found = _computed(node, values, flat.opset_import[0].version)
        if node.op_type == "ConstantOfShape":
            # What is filled with one number is written once for each length.
            ((name, value),) = found.items()
            same[name] = f"filled.{value.dtype}.{value.shape}.{value.flat[0]}"
            found = {same[name]: value}
        values |= found
    taken = {name for node in kept for name in node.input}
    del flat.graph.node[:], flat.graph.initializer[:]
    flat.graph.node.extend(kept)
    flat.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in values.items() if name in taken
    )
    return flat


def _computed(node: NodeProto, values: Mapping[str, NDArray[Any]], opset: int) -> dict[str, NDArray[Any]]:
    """What an operator gives for known values, by onnx's own reference."""
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.ValueInfoProto(name=name) for name in node.input],
        [onnx.ValueInfoProto(name=name) for name in node.output],
    )
    one = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    answers = ReferenceEvaluator(one).run(None, {name: values[name] for name in node.input})
    return {name: np.asarray(answer) for name, answer in zip(node.output, answers, strict=True)}
