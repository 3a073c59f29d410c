"""Inlines the functions of a model, for the many runtimes that do not support functions.

`onnx.inliner` does the inlining. Then whatever the functions compute from stored numbers alone (splits, shapes, zero
points) is computed here, because importers look for scales and zero points among the initialisers. The scales of biases
stay nodes that multiply two scales: every importer tried computes them (docs/runtimes.md), and as numbers they would
take 2,632 bytes in `qat_8b`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, inliner, numpy_helper
from onnx.reference import ReferenceEvaluator

IR_VERSION = 7
"""The IR version that opset 13 came with (https://github.com/onnx/onnx/blob/main/docs/Versioning.md)."""
_COMPUTED = ("Split", "Squeeze", "Shape", "ConstantOfShape")


def written_out(model: ModelProto) -> ModelProto:
    """Return the same model without functions."""
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
            # Where a call leaves out an input, the inliner writes an empty name.
            del node.input[-1]
        if node.op_type not in _COMPUTED or any(name not in values for name in node.input):
            kept.append(node)
            continue
        found = _computed(node, values, flat.opset_import[0].version)
        if node.op_type == "ConstantOfShape":
            # Tensors filled with one number are shared by all nodes that need the same shape.
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
    """Compute an operator on known values with onnx's reference implementation."""
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.ValueInfoProto(name=name) for name in node.input],
        [onnx.ValueInfoProto(name=name) for name in node.output],
    )
    one = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    answers = ReferenceEvaluator(one).run(None, {name: values[name] for name in node.input})
    return {name: np.asarray(answer) for name, answer in zip(node.output, answers, strict=True)}
