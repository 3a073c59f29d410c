"""What the ONNX graphs of both storages share: the statistics pooling, and how layers are put down as convolutions."""

from torch import Tensor

from asc.export.onnx_graph import Graph

OPSET = 13
"""The lowest that has quantisation scales per channel (DequantizeLinear-13): what most runtimes can read."""
PADS, NO_PADS = [1, 1, 1, 1], [0, 0, 0, 0]
"""Of a kernel of 3 x 3, and of one that looks at single values or at a whole map."""
_VARIANCE_FLOOR = 1e-5


def statistics(graph: Graph, x: str) -> str:
    """Mean and deviation over time: (batch, channels, bins, frames) to (batch, 2 x channels, bins, 1)."""
    mean = graph.node("ReduceMean", x, axes=[3])
    from_mean = graph.node("Sub", x, mean)
    variance = graph.node("ReduceMean", graph.node("Mul", from_mean, from_mean), axes=[3])
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.number(_VARIANCE_FLOOR)))
    return graph.node("Concat", mean, deviation, axis=1)


def dense_kernel(weight: Tensor, channels: int) -> Tensor:
    """The weight (outputs, inputs) of the dense layer as that of a convolution over `statistics`, as high as its map.

    It has the same order of inputs: channels first, bins within. `channels` are those of the last block.
    """
    return weight.reshape(len(weight), 2 * channels, -1, 1)
