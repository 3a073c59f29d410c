"""Halves the float32 constants of a LiteRT file that are float16 values, as those of a network stored in 16 bits are.

Each becomes a float16 tensor with a DEQUANTIZE after it. LiteRT's own float16 quantisation writes the same. XNNPACK
converts such weights to float32 when it loads the file, so arithmetic and speed do not change.
https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_float16_quant. That tool rounds every
weight of the kinds that it knows; here only what float16 holds exactly is halved, so no value changes.
"""

from typing import Any

import numpy as np

# A DEQUANTIZE and its tensor take some 100 bytes of the file, so a shorter constant would grow.
_FEWEST_VALUES = 48
_DEQUANTIZE_OF_FLOAT16 = 3  # the version of the operator


def with_float16(data: bytes) -> bytes:
    """Return a .tflite file that computes the same with float16 constants.

    The converter's long names of inner tensors, a tenth of the file, become numbers, and empty grids are left out.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    (graph,) = model.subgraphs
    widened = [_halved(schema, model, tensor) for tensor in range(len(graph.tensors))]
    model.operatorCodes.append(
        schema.OperatorCodeT(
            deprecatedBuiltinCode=schema.BuiltinOperator.DEQUANTIZE,
            builtinCode=schema.BuiltinOperator.DEQUANTIZE,
            version=_DEQUANTIZE_OF_FLOAT16,
        )
    )
    code = len(model.operatorCodes) - 1
    graph.operators[:0] = [
        schema.OperatorT(opcodeIndex=code, inputs=[half], outputs=[tensor])
        for tensor, half in enumerate(widened)
        if half is not None
    ]
    _shorten(graph)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _halved(schema: Any, model: Any, number: int) -> int | None:
    """Move a constant to a new float16 tensor, whose number is returned; None if it stays as it is."""
    (graph,) = model.subgraphs
    tensor = graph.tensors[number]
    constant = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.FLOAT32 or constant is None:
        return None
    values = np.frombuffer(bytes(constant), dtype="<f4")
    with np.errstate(over="ignore"):
        half = values.astype("<f2")
    if len(values) < _FEWEST_VALUES or not np.array_equal(half.astype("<f4"), values):
        return None
    if sum(other.buffer == tensor.buffer for other in graph.tensors) > 1:
        return None
    model.buffers[tensor.buffer].data = np.frombuffer(half.tobytes(), dtype=np.uint8)
    graph.tensors.append(
        schema.TensorT(shape=tensor.shape, type=schema.TensorType.FLOAT16, buffer=tensor.buffer, hasRank=tensor.hasRank)
    )
    tensor.buffer = 0  # the empty one: it is computed now
    return len(graph.tensors) - 1


def _shorten(graph: Any) -> None:
    """Number all tensors but the inputs and outputs, and drop grids without a scale."""
    ends = {*graph.inputs, *graph.outputs}
    for number, tensor in enumerate(graph.tensors):
        if number not in ends:
            tensor.name = str(number)
        if tensor.quantization is not None and tensor.quantization.scale is None:
            tensor.quantization = None
