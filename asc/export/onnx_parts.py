"""What the ONNX graphs of both storages share: the statistics pooling, and how layers are put down as convolutions."""

from torch import Tensor

from asc.export.onnx_graph import Graph
from asc.topology.layers import ConvNormRelu, Dense, Projection

OPSET = 13
"""The lowest that has quantisation scales per channel (DequantizeLinear-13): what most runtimes can read."""
_VARIANCE_FLOOR = 1e-5


def statistics(graph: Graph, x: str) -> str:
    """Mean and deviation over time: (batch, channels, bins, frames) to (batch, 2 x channels, bins, 1)."""
    mean = graph.node("ReduceMean", x, axes=[3])
    from_mean = graph.node("Sub", x, mean)
    variance = graph.node("ReduceMean", graph.node("Mul", from_mean, from_mean), axes=[3])
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.number(_VARIANCE_FLOOR)))
    return graph.node("Concat", mean, deviation, axis=1)


def padding(layer: ConvNormRelu | Projection | Dense) -> list[int]:
    """The zeros on all sides of a map that a layer, put down as a convolution, looks at."""
    rows, columns = layer.kernel if isinstance(layer, ConvNormRelu) else (1, 1)
    return [rows // 2, columns // 2, rows // 2, columns // 2]


def dense_kernel(weight: Tensor, channels: int) -> Tensor:
    """The weight (outputs, inputs) of the dense layer as that of a convolution over `statistics`, as high as its map.

    It has the same order of inputs: channels first, bins within. `channels` are those of the last map.
    """
    return weight.reshape(len(weight), 2 * channels, -1, 1)
