"""What the ONNX graphs of both storages write alike, layer by layer: sums, swish, means over frequency, max pools."""

from collections.abc import Sequence
from typing import Any, Protocol, assert_never

from asc.export.onnx_parts import padding
from asc.export.onnx_text import Sink, norms_of
from asc.topology.layers import (
    Add,
    ConvNorm,
    Dense,
    FrequencyMean,
    MaxPool,
    Projection,
    SubSpectralConv,
    Swish,
    has_bias,
)
from asc.topology.topology import Topology

Simple = Add | Swish | FrequencyMean | MaxPool
"""The kinds without numbers of their own that both storages write alike."""


def simple(sink: Sink, layer: Simple, read: Sequence[str], output: str = "") -> str:
    """Add the nodes of a layer without its ReLU, and return the name of its output; `read` are float values."""
    match layer:
        case Add():
            *others, last = read[1:]
            total = read[0]
            for other in others:
                total = sink.node("Add", total, other)
            return sink.node("Add", total, last, output=output)
        case Swish():
            return sink.node("Mul", read[0], sink.node("Sigmoid", read[0]), output=output)
        case FrequencyMean():
            return sink.node("ReduceMean", read[0], output=output, axes=[2], keepdims=1)
        case MaxPool():
            rows, columns = layer.stride
            pads = [0, 0, rows - 1, columns - 1]  # sizes round up
            size = [rows, columns]
            return sink.node("MaxPool", read[0], output=output, kernel_shape=size, strides=size, pads=pads)
        case _:
            assert_never(layer)


def settings(
    layer: ConvNorm | SubSpectralConv | Projection | Dense, topology: Topology, stride: list[int] | str
) -> dict[str, Any]:
    """Return the attributes of the function that writes a convolution: stride, groups, padding and what else it has."""
    groups = layer.groups if isinstance(layer, ConvNorm) else 1
    match layer:
        case SubSpectralConv():
            return {"s": stride, "g": layer.channels, "p": padding(layer), "b": [0, 0, layer.bands, -1]}
        case ConvNorm() | Projection() | Dense():
            dilation = list(layer.dilation) if isinstance(layer, ConvNorm) else [1, 1]
            return {"s": stride, "g": groups, "p": padding(layer)} | ({"d": dilation} if dilates(topology) else {})
        case _:
            assert_never(layer)


def dilates(topology: Topology) -> bool:
    """Whether a convolution of the network is dilated; the functions of all of them then have an attribute for it."""
    return any(isinstance(layer, ConvNorm) and layer.dilation != (1, 1) for layer in topology.layers)


def own_functions(topology: Topology, convolution_of: "Written", sub_spectral: str) -> dict[str, str]:
    """Return the texts of the functions that write single layers of a network, by name."""
    found = {"L": convolution_of(topology, bias=True)}
    if any(isinstance(layer, ConvNorm) and not has_bias(layer) for layer in topology.layers):
        found["M"] = convolution_of(topology, bias=False)
    if any(isinstance(layer, SubSpectralConv) for layer in topology.layers):
        found["P"] = sub_spectral
    return {**found, **norms_of(topology)}


class Written(Protocol):
    """Writes the function of a storage's convolutions, with or without a bias."""

    def __call__(self, topology: Topology, *, bias: bool) -> str:
        """Return the function's text."""


def convolution(topology: Topology, inputs: str) -> tuple[str, str]:
    """Return the attributes of a convolution's function, and its `Conv` of these inputs, in ONNX's text form."""
    more = ", dilations: ints = @d" if dilates(topology) else ""
    attributes = "s, g, p, d" if dilates(topology) else "s, g, p"
    return attributes, f"Conv <strides: ints = @s, group: int = @g, pads: ints = @p{more}> ({inputs})"


BY_BAND = """sums = Conv <strides: ints = @s, group: int = @g, pads: ints = @p> (real_x, real_weight)
    shape = Shape (sums)
    by_band = Constant <value_ints: ints = @b> ()
    split = Reshape (sums, by_band)
    scaled = Mul (split, scale)
    shifted = Add (scaled, shift)"""
"""The nodes of a sub-spectral convolution, up to the values by channel and band, in ONNX's text form."""
