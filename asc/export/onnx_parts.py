"""What the ONNX graphs of both storages share: the statistics pooling, and layers written as convolutions."""

from torch import Tensor

from asc.export.onnx_graph import Graph
from asc.topology.layers import ConvNorm, Dense, Projection

OPSET = 13
"""The lowest opset with per-channel scales (DequantizeLinear-13), so that most runtimes can read the file."""
_VARIANCE_FLOOR = 1e-5


def statistics(graph: Graph, x: str) -> str:
    """Add mean and standard deviation over time: (batch, channels, bins, frames) to (batch, 2 x channels, bins, 1)."""
    mean = graph.node("ReduceMean", x, axes=[3])
    from_mean = graph.node("Sub", x, mean)
    variance = graph.node("ReduceMean", graph.node("Mul", from_mean, from_mean), axes=[3])
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.number(_VARIANCE_FLOOR)))
    return graph.node("Concat", mean, deviation, axis=1)


def padding(layer: ConvNorm | Projection | Dense) -> list[int]:
    """Return the zero padding (top, left, bottom, right) of a layer that is written as a convolution."""
    rows, columns = layer.kernel if isinstance(layer, ConvNorm) else (1, 1)
    return [rows // 2, columns // 2, rows // 2, columns // 2]


def dense_kernel(weight: Tensor, channels: int) -> Tensor:
    """Reshape the dense layer's weight (outputs, inputs) to a convolution's (outputs, 2 x channels, bins, 1).

    The convolution reads the output of `statistics` and is as high as that map. The order of inputs stays: by channel,
    then by bin. `channels` is the number of channels of the last map.
    """
    return weight.reshape(len(weight), 2 * channels, -1, 1)
