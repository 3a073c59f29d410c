"""The 8-bit form as ONNX, from log-mel to logits: Q/DQ pairs, which onnxruntime fuses into integer operators.

https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html: activations are uint8. Biases are int32;
their scale is a product, which onnxruntime computes when it loads the file. The int8 weights, with a scale for each
output channel, are written 128 higher, as uint8 with a zero point of 128. In onnxruntime and OpenVINO, products of
uint8 and int8 overflow on x86 processors without VNNI; those of uint8 and uint8 never do (`asc.export.saturating`).
A zero point of 0 is left out, since 0 is the default. There is no ReLU: the quantiser after it clamps. SE, response
norms and pooling are in float; the norm of an SE bottleneck is folded into the layer after it. The dense layer is a
convolution as high as its map, so that one function serves every layer. A sub-spectral convolution runs in float, on
the values of its input's grid, because its factors differ between bands.
"""

from dataclasses import dataclass
from typing import assert_never

from asc.export.onnx_alike import BY_BAND, Simple, convolution, own_functions, settings, simple
from asc.export.onnx_functions import Call, functions_of, parts_of, stride_of
from asc.export.onnx_graph import Graph
from asc.export.onnx_numbers import WEIGHT_ZERO, Numbers
from asc.export.onnx_parameters import Parameter, created, parameters
from asc.export.onnx_parts import WINDOW, pooled, standardised
from asc.export.onnx_text import HEAD, OUTPUT, STRIDE, FunctionText, Sink
from asc.models.integer import IntegerNet
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
    Pool,
    Projection,
    ResidualNorm,
    ResponseNorm,
    SqueezeExcite,
    SubSpectralConv,
    Swish,
    has_bias,
)
from asc.topology.topology import Topology

_Inner = (
    ConvNorm | SubSpectralConv | Projection | Dense | SqueezeExcite | ResponseNorm | ResidualNorm | AveragePool | Simple
)

_SUB_SPECTRAL = f"""{HEAD}
P <s, g, p, b> (x, x_step, weight, scale, shift, y_step, x_zero, y_zero) => (y) {{
    real_x = DequantizeLinear (x, x_step, x_zero)
    real_weight = Cast <to = 1> (weight)
    {BY_BAND}
    real_y = Reshape (shifted, shape)
    y = QuantizeLinear (real_y, y_step, y_zero)
}}"""


def _layer(topology: Topology, *, bias: bool) -> str:
    """Return the text of the function `L` of convolutions with a bias, or `M` of those without."""
    conv_inputs = "real_x, real_weight, real_bias" if bias else "real_x, real_weight"
    attributes, conv = convolution(topology, conv_inputs)
    dequantised_bias = """bias_step = Mul (x_step, weight_step)
    real_bias = DequantizeLinear <axis = 0> (bias, bias_step)
    """
    return f"""{HEAD}
{"L" if bias else "M"} <{attributes}>
(x, x_step, weight, weight_step, {"bias, " if bias else ""}y_step, x_zero, y_zero) => (y) {{
    real_x = DequantizeLinear (x, x_step, x_zero)
    channels = Shape (weight_step)
    weight_zero = ConstantOfShape <value: tensor = uint8[1] {{{WEIGHT_ZERO}}}> (channels)
    real_weight = DequantizeLinear <axis = 0> (weight, weight_step, weight_zero)
    {dequantised_bias if bias else ""}real_y = {conv}
    y = QuantizeLinear (real_y, y_step, y_zero)
}}"""


@dataclass(frozen=True, slots=True)
class _Steps:
    """Names of a quantised tensor, its step and its zero point, which is empty if the zero point is 0."""

    values: str
    step: str
    zero: str


def add_int8(graph: Graph, network: IntegerNet, log_mel: str, logits: str) -> None:
    """Add nodes from the value `log_mel` (batch, 1, bands, frames) to the value `logits` (batch, classes)."""
    topology, parts = network.topology, parts_of(network.topology)
    functions = functions_of(parts)
    own = own_functions(topology, _layer, _SUB_SPECTRAL)
    graph.functions(*own.values(), *(_function(call, topology, [*own, *functions]) for call in functions.values()))
    numbers = Numbers(network)
    written = {LOG_MEL: _Steps(log_mel, "", "")}
    for part in parts:
        if isinstance(part, Call):
            written[part.layers[-1].name] = _call(graph, numbers, part, written[part.reads], topology)
        else:
            written[part.name] = _main(graph, numbers, part, [written[name] for name in part.reads], topology)
    graph.node("Flatten", _real(graph, written[topology.classifier.name]), output=logits)


def _main(graph: Graph, numbers: Numbers, layer: Layer, read: list[_Steps], topology: Topology) -> _Steps:
    """Add a layer outside functions."""
    real = pooled(graph, layer, _real(graph, read[0])) if isinstance(layer, Pool) else read[0].values
    names = {key: graph.constant(f"{layer.name}.{key}", values) for key, values in numbers.of(layer).items()}
    if isinstance(layer, BandNorm):
        return _Steps(standardised(graph, real, names["mean"], names["deviation"]), "", "")
    if isinstance(layer, Input | Pool):
        step, zero = names["scale"], names.get("zero", "")
        return _Steps(graph.node("QuantizeLinear", real, step, zero), step, zero)
    return _write(graph, layer, read, names, topology, stride=_stride(layer))


def _stride(layer: Layer) -> list[int]:
    return list(stride_of(layer) or (1, 1))


def _write(
    sink: Sink,
    layer: _Inner,
    read: list[_Steps],
    names: dict[str, str],
    topology: Topology,
    *,
    stride: list[int] | str,
    output: str = "",
) -> _Steps:
    """Add the nodes of a layer; `names` are those of its numbers, where a zero point may be missing."""
    own = read[0] if isinstance(layer, AveragePool | MaxPool) else _Steps("", names["scale"], names.get("zero", ""))
    step, zero = own.step, own.zero
    match layer:
        case ConvNorm() | SubSpectralConv() | Projection() | Dense():
            x = read[0]
            keys = ("weight", "band_scale", "band_shift", "weight_scale", "bias")
            stored = [names[key] for key in keys if key in names]
            function = "P" if isinstance(layer, SubSpectralConv) else "L" if has_bias(layer) else "M"
            inputs = (x.values, x.step, *stored, step, x.zero, zero)
            y = sink.node(function, *inputs, output=output, **settings(layer, topology, stride))
            return _Steps(y, step, zero)
        case SqueezeExcite():
            x_real = _real(sink, read[0])
            reduced = sink.node(
                "Conv", sink.node("GlobalAveragePool", x_real), names["reduce.weight"], names["reduce.bias"]
            )
            expanded = sink.node("Conv", sink.node("Relu", reduced), names["expand.weight"], names["expand.bias"])
            real = sink.node("Mul", x_real, sink.node("Sigmoid", expanded))
        case ResponseNorm():
            real = sink.node("R", _real(sink, read[0]), names["norm.weight"], names["norm.bias"])
        case ResidualNorm():
            real = sink.node("N", _real(sink, read[0]), l=layer.shortcut)
        case AveragePool():
            real = sink.node("AveragePool", _real(sink, read[0]), strides=stride, **WINDOW)
        case Add() | Swish() | FrequencyMean() | MaxPool():
            real = simple(sink, layer, [_real(sink, x) for x in read])
        case _:
            assert_never(layer)
    return _Steps(sink.node("QuantizeLinear", real, step, zero, output=output), step, zero)


def _real(sink: Sink, x: _Steps) -> str:
    return sink.node("DequantizeLinear", x.values, x.step, x.zero)


def _call(graph: Graph, numbers: Numbers, call: Call, x: _Steps, topology: Topology) -> _Steps:
    """Add a node that calls a function with the numbers of its layers."""
    asked = parameters(call, topology)
    names = {one: _constant(graph, numbers, one) for one in created(call, asked)}
    last = call.layers[-1].name
    outside = {"x": x.values, "x_step": x.step, "x_zero": x.zero}
    arguments = [outside.get(one.identifier) if not one.members else names[one] for one in asked]
    y = graph.node(call.function, *(name or "" for name in arguments), s=list(call.stride))
    of_last = {one.members[0].key: names[one] for one in asked if one.members and one.members[0].layer.name == last}
    return _Steps(y, of_last["scale"], of_last.get("zero", ""))


def _constant(graph: Graph, numbers: Numbers, parameter: Parameter) -> str:
    values = numbers.packed(parameter)
    return "" if values is None else graph.constant(parameter.constant, values)


def _function(call: Call, topology: Topology, functions: list[str]) -> str:
    """Return the text of the function that this call calls."""
    asked = parameters(call, topology)
    text = FunctionText(call.function, [one.identifier for one in asked], functions=functions)
    identifiers: dict[str, dict[str, str]] = {layer.name: {} for layer in call.layers}
    for one in asked:
        if len(one.members) > 1:
            one.split(text)
        for member in one.members:
            identifiers[member.layer.name][member.key] = member.identifier
    for one in asked:
        if len(one.members) > 1 and one.members[0].key == "scale":
            one.squeeze(text)
    _body(text, call, topology, identifiers)
    return text.text()


def _body(text: FunctionText, call: Call, topology: Topology, identifiers: dict[str, dict[str, str]]) -> None:
    written = {call.reads: _Steps("x", "x_step", "x_zero")}
    last = call.layers[-1].name
    for part in call.parts:
        inner = part.layers[-1] if isinstance(part, Call) else part
        output, names = OUTPUT if inner.name == last else "", identifiers[inner.name]
        outer = call.strides_by_attribute(part)
        if isinstance(part, Call):
            x = written[part.reads]
            outside = {"x": x.values, "x_step": x.step, "x_zero": x.zero}
            arguments = [
                identifiers[one.members[0].layer.name][one.members[0].key] if one.members else outside[one.identifier]
                for one in parameters(part, topology)
            ]
            y = text.node(part.function, *arguments, output=output, s=STRIDE if outer else list(part.stride))
            written[inner.name] = _Steps(y, names["scale"], names.get("zero", ""))
        else:
            stride = STRIDE if outer else _stride(part)
            read = [written[name] for name in part.reads]
            assert not isinstance(part, BandNorm | Input | Pool), "a network has only one of them"
            written[part.name] = _write(text, part, read, names, topology, stride=stride, output=output)
