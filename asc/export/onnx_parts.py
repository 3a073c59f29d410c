"""What the ONNX graphs of both storages share: the statistics pooling, and layers written as convolutions."""

from typing import Any, assert_never

from torch import Tensor

from asc.export.onnx_graph import Graph
from asc.topology.layers import ConvNorm, Dense, MeanPool, Pool, Projection, StatisticsPool, SubSpectralConv
from asc.topology.topology import Topology

OPSET = 13
"""The lowest opset with per-channel scales (DequantizeLinear-13), so that most runtimes can read the file."""
_VARIANCE_FLOOR = 1e-5
WINDOW: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}
"""Attributes of an average over 3 x 3 values, zero padding included."""


def statistics(graph: Graph, x: str) -> str:
    """Add mean and standard deviation over time: (batch, channels, bins, frames) to (batch, 2 x channels, bins, 1)."""
    mean = graph.node("ReduceMean", x, axes=[3])
    from_mean = graph.node("Sub", x, mean)
    variance = graph.node("ReduceMean", graph.node("Mul", from_mean, from_mean), axes=[3])
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.number(_VARIANCE_FLOOR)))
    return graph.node("Concat", mean, deviation, axis=1)


def standardised(graph: Graph, log_mel: str, mean: str, deviation: str) -> str:
    """Add a band norm to log-mel (batch, 1, bands, frames); the mean and deviation are float32 (bands, 1)."""
    return graph.node("Div", graph.node("Sub", log_mel, mean), deviation)


def padding(layer: ConvNorm | SubSpectralConv | Projection | Dense) -> list[int]:
    """Return the zero padding (top, left, bottom, right) of a layer that is written as a convolution."""
    rows, columns = layer.padding if isinstance(layer, ConvNorm | SubSpectralConv) else (0, 0)
    return [rows, columns, rows, columns]


def pooled(graph: Graph, pool: Pool, x: str) -> str:
    """Add the nodes of a pooling layer: (batch, channels, bins, frames) to a map of one frame."""
    match pool:
        case StatisticsPool():
            return statistics(graph, x)
        case MeanPool():
            return graph.node("GlobalAveragePool", x)
        case _:
            assert_never(pool)


def dense_kernel(weight: Tensor, topology: Topology) -> Tensor:
    """Reshape the dense layer's weight (outputs, inputs) to that of a convolution as high as the pooled map.

    That map is (2 x channels, bins, 1) after `statistics` and (channels, 1, 1) after a mean over bins and frames. The
    order of inputs stays: by channel, then by bin.
    """
    channels = topology.last_channels * (2 if isinstance(topology.pool, StatisticsPool) else 1)
    return weight.reshape(len(weight), channels, -1, 1)
