"""The 16-bit form as ONNX, from log-mel to logits: float16 numbers, which are cast to float32 for all arithmetic.

onnxruntime casts when it loads the file (constant folding), so the casts cost nothing when the network runs. The file
holds exactly the stored numbers: batch norms of SE bottlenecks are not folded, because products would need rounding.
"""

from typing import assert_never

from torch import Tensor

from asc.export.onnx_alike import BY_BAND, Simple, convolution, own_functions, settings, simple
from asc.export.onnx_functions import Call, functions_of, parts_of, stride_of
from asc.export.onnx_graph import Graph
from asc.export.onnx_parts import WINDOW, dense_kernel, pooled, standardised
from asc.export.onnx_text import HEAD, OUTPUT, STRIDE, FunctionText, Sink
from asc.models.conversion import to_float16
from asc.models.float16 import HalfNet
from asc.topology.layers import (
    LOG_MEL,
    Add,
    AveragePool,
    BandNorm,
    ConvNorm,
    Dense,
    FrequencyMean,
    Input,
    Layer,
    MaxPool,
    MeanPool,
    Pool,
    Projection,
    ResidualNorm,
    ResponseNorm,
    SqueezeExcite,
    StatisticsPool,
    SubSpectralConv,
    Swish,
    has_bias,
)
from asc.topology.topology import Topology

_SUB_SPECTRAL = f"""{HEAD}
P <s, g, p, b> (real_x, half_weight, half_scale, half_shift) => (y) {{
    real_weight = Cast <to = 1> (half_weight)
    scale = Cast <to = 1> (half_scale)
    shift = Cast <to = 1> (half_shift)
    {BY_BAND}
    y = Reshape (shifted, shape)
}}"""
_NO_PADS = [0, 0, 0, 0]
_NORM = ("weight", "bias", "running_mean", "running_var")
_Inner = (
    ConvNorm | SubSpectralConv | Projection | Dense | SqueezeExcite | ResponseNorm | ResidualNorm | AveragePool | Simple
)


def _layer(topology: Topology, *, bias: bool) -> str:
    """Return the text of the function `L` of convolutions with a bias, or `M` of those without."""
    attributes, conv = convolution(topology, "x, weight, bias" if bias else "x, weight")
    return f"""{HEAD}
{"L" if bias else "M"} <{attributes}> (x, half_weight{", half_bias" if bias else ""}) => (y) {{
    weight = Cast <to = 1> (half_weight)
    {"bias = Cast <to = 1> (half_bias)" if bias else ""}
    y = {conv}
}}"""


def add_float16(graph: Graph, network: HalfNet, log_mel: str, logits: str) -> None:
    """Add nodes from the value `log_mel` (batch, 1, bands, frames) to the value `logits` (batch, classes)."""
    parts, classifier = parts_of(network.topology), network.topology.classifier
    functions = functions_of(parts)
    topology, own = network.topology, own_functions(network.topology, _layer, _SUB_SPECTRAL)
    graph.functions(*own.values(), *(_function(call, topology, [*own, *functions]) for call in functions.values()))
    written = {LOG_MEL: log_mel}
    # Pooling and classifier are written together, so that the classifier's numbers come before pooling's constant.
    for part in parts[:-1]:
        layer = part.layers[-1] if isinstance(part, Call) else part
        if isinstance(part, Call):
            stored = [name for inner in part.layers for name in _constants(graph, network, inner)]
            y = graph.node(part.function, written[part.reads], *stored, s=list(part.stride))
        elif isinstance(part, Pool):
            stored = _constants(graph, network, classifier)
            x = pooled(graph, part, written[part.reads[0]])
            y = _write(graph, classifier, [x], stored, topology, stride=[1, 1])
        elif isinstance(part, BandNorm):
            mean, deviation = (graph.node("Cast", name, to=1) for name in _constants(graph, network, part))
            y = standardised(graph, log_mel, mean, deviation)
        elif isinstance(part, Input):
            y = written[part.reads[0]]
        else:
            stored = _constants(graph, network, part)
            y = _write(graph, part, [written[name] for name in part.reads], stored, topology, stride=_stride(part))
        written[layer.name] = y
    graph.node("Flatten", y, output=logits)


def _write(
    sink: Sink,
    layer: _Inner,
    read: list[str],
    stored: list[str],
    topology: Topology,
    *,
    stride: list[int] | str,
    output: str = "",
) -> str:
    """Add the nodes of a layer whose numbers are named `stored`, and return the name of its output."""
    match layer:
        case ConvNorm():
            function, attributes = "L" if has_bias(layer) else "M", settings(layer, topology, stride)
            if not layer.relu:
                return sink.node(function, read[0], *stored, output=output, **attributes)
            return sink.node("Relu", sink.node(function, read[0], *stored, **attributes), output=output)
        case SubSpectralConv() | Projection() | Dense():
            function = "P" if isinstance(layer, SubSpectralConv) else "L"
            return sink.node(function, read[0], *stored, output=output, **settings(layer, topology, stride))
        case SqueezeExcite():
            reduce, norm, expand = stored[:2], stored[2:-2], stored[-2:]
            reduced = sink.node(
                "Relu", sink.node("L", sink.node("GlobalAveragePool", read[0]), *reduce, s=[1, 1], g=1, p=_NO_PADS)
            )
            normed = sink.node("BatchNormalization", reduced, *(sink.node("Cast", name, to=1) for name in norm))
            gate = sink.node("Sigmoid", sink.node("L", normed, *expand, s=[1, 1], g=1, p=_NO_PADS))
            return sink.node("Mul", read[0], gate, output=output)
        case ResponseNorm():
            weight, bias = (sink.node("Cast", name, to=1) for name in stored)
            return sink.node("Relu", sink.node("R", read[0], weight, bias), output=output)
        case ResidualNorm():
            return sink.node("N", read[0], output=output, l=layer.shortcut)
        case AveragePool():
            return sink.node("AveragePool", read[0], output=output, strides=stride, **WINDOW)
        case Add(relu=True):
            return sink.node("Relu", simple(sink, layer, read), output=output)
        case Add() | Swish() | FrequencyMean() | MaxPool():
            return simple(sink, layer, read, output)
        case _:
            assert_never(layer)


def _function(call: Call, topology: Topology, functions: list[str]) -> str:
    """Return the text of the function that this call calls."""
    stored = {layer.name: [f"{name}_{place}" for name in _names(layer)] for place, layer in enumerate(call.layers)}
    text = FunctionText(
        call.function, ["x", *(name for names in stored.values() for name in names)], functions=functions
    )
    written = {call.reads: "x"}
    for part in call.parts:
        inner = part.layers[-1] if isinstance(part, Call) else part
        output = OUTPUT if inner == call.layers[-1] else ""
        if isinstance(part, Call):
            names = [name for layer in part.layers for name in stored[layer.name]]
            stride = STRIDE if call.strides_by_attribute(part) else list(part.stride)
            written[inner.name] = text.node(part.function, written[part.reads], *names, output=output, s=stride)
        else:
            assert not isinstance(part, BandNorm | Input | Pool), "a network has only one of them"
            stride = STRIDE if call.strides_by_attribute(part) else _stride(part)
            read = [written[name] for name in part.reads]
            written[part.name] = _write(text, part, read, stored[part.name], topology, stride=stride, output=output)
    return text.text()


def _stride(layer: Layer) -> list[int]:
    return list(stride_of(layer) or (1, 1))


def _names(layer: Layer) -> tuple[str, ...]:
    """Return the names of a layer's numbers, in order."""
    match layer:
        case BandNorm():
            return ("mean", "deviation")
        case ConvNorm() if not has_bias(layer):
            return ("weight",)
        case ConvNorm() | Projection() | Dense() | ResponseNorm():
            return ("weight", "bias")
        case SubSpectralConv():
            return ("weight", "band_scale", "band_shift")
        case SqueezeExcite():
            linear = [f"{part}_{name}" for part in ("reduce", "expand") for name in ("weight", "bias")]
            return (*linear[:2], *(f"norm_{name}" for name in _NORM), *linear[2:])
        case Input() | ResidualNorm() | Add() | Swish() | FrequencyMean() | AveragePool() | MaxPool():
            return ()
        case StatisticsPool() | MeanPool():
            return ()
        case _:
            assert_never(layer)


def _constants(graph: Graph, network: HalfNet, layer: Layer) -> list[str]:
    """Add a layer's numbers to the graph and return their names there."""
    if not _names(layer):
        return []
    state = network.module_of(layer).state_dict()
    found = []
    for name in _names(layer):
        key = name.replace("_", ".", 1) if isinstance(layer, SqueezeExcite) else name
        found.append(graph.constant(f"{layer.name}.{key}", to_float16(_kernel(network, layer, state[key])).numpy()))
    return found


def _kernel(network: HalfNet, layer: Layer, values: Tensor) -> Tensor:
    """Reshape a matrix to the kernel of a convolution, and values of bands to (bands, 1) or (channels, bands, 1)."""
    if isinstance(layer, BandNorm):
        return values[:, None]
    if isinstance(layer, SubSpectralConv) and values.dim() == 1:
        return values.view(layer.channels, -1, 1)
    if values.dim() != 2:
        return values
    return dense_kernel(values, network.topology) if isinstance(layer, Dense) else values[:, :, None, None]
