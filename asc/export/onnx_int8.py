"""The 8-bit form as ONNX, from log-mel to logits: quantise/dequantise pairs, which onnxruntime fuses to integer ones.

https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html: activations are uint8, biases int32 whose
step is a product that onnxruntime computes when it loads the file. The int8 weights, with a scale for each output
channel, are written 128 higher, as uint8 with a zero point of 128: products of uint8 and int8 overflow in onnxruntime
and OpenVINO on x86 processors without VNNI, those of uint8 and uint8 nowhere (`asc.export.saturating`).
An activation's zero point of 0 is left out: that is what its absence means. There is no ReLU: the quantiser after it
clamps. SE and the statistics pooling are in float; the norm of an SE bottleneck is folded into the layer after it. The
dense layer is a convolution as high as its map, so that one function serves every layer.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asc.export.onnx_graph import DOMAIN, Graph
from asc.export.onnx_parts import NO_PADS, OPSET, PADS, dense_kernel, statistics
from asc.models.layers import SqueezeExcite, StoredNorm
from asc.quant.integer import IntegerBlock, IntegerLayer, IntegerNet, IntegerQuantiser

WEIGHT_ZERO = 128

_HEAD = f'<domain: "{DOMAIN}", opset_import: ["": {OPSET}, "{DOMAIN}": 1]>'

_LAYER = f"""{_HEAD}
L <s, g, p>
(x, x_step, weight, weight_step, bias, y_step, x_zero, y_zero) => (y) {{
    real_x = DequantizeLinear (x, x_step, x_zero)
    channels = Shape (weight_step)
    weight_zero = ConstantOfShape <value: tensor = uint8[1] {{{WEIGHT_ZERO}}}> (channels)
    real_weight = DequantizeLinear <axis = 0> (weight, weight_step, weight_zero)
    bias_step = Mul (x_step, weight_step)
    real_bias = DequantizeLinear <axis = 0> (bias, bias_step)
    real_y = Conv <strides: ints = @s, group: int = @g, pads: ints = @p> (real_x, real_weight, real_bias)
    y = QuantizeLinear (real_y, y_step, y_zero)
}}"""


def _block(groups: int) -> str:
    return f"""{_HEAD}
B <s>
(x, x_step, w1, ws1, b1, step1, w2, ws2, b2, step2, reduce, reduce_b, expand, expand_b, y_step, x_zero) => (y) {{
    one = {DOMAIN}.L <s: ints = @s, g = 1, p = {PADS}> (x, x_step, w1, ws1, b1, step1, x_zero)
    two = {DOMAIN}.L <s = [1, 1], g = {groups}, p = {PADS}> (one, step1, w2, ws2, b2, step2)
    real = DequantizeLinear (two, step2)
    pooled = GlobalAveragePool (real)
    reduced = Conv (pooled, reduce, reduce_b)
    kept = Relu (reduced)
    expanded = Conv (kept, expand, expand_b)
    gate = Sigmoid (expanded)
    scaled = Mul (real, gate)
    y = QuantizeLinear (scaled, y_step)
}}"""


# A tensor costs 17 bytes beside its numbers, so what has one shape and type is one tensor, which is split when the file
# is loaded: weight scales of the three convolutions and the bias that SE ends with, biases of the three, and the steps
# of the grids within the block.
_SKIP_BLOCK = f"""{_HEAD}
S <s>
(x, x_step, w1, w2, ws, by_channel, biases, steps, reduce, reduce_b, expand,
 y_step, x_zero, skip_zero, y_zero) => (y) {{
    ws1, ws2, wss, expand_b = Split (by_channel)
    b1, b2, bs = Split (biases)
    at1, at2, at3, at4 = Split (steps)
    step1 = Squeeze (at1)
    step2 = Squeeze (at2)
    inner_step = Squeeze (at3)
    skip_step = Squeeze (at4)
    inner = {DOMAIN}.B <s: ints = @s>
        (x, x_step, w1, ws1, b1, step1, w2, ws2, b2, step2, reduce, reduce_b, expand, expand_b, inner_step, x_zero)
    skip = {DOMAIN}.L <s: ints = @s, g = 1, p = {NO_PADS}> (x, x_step, ws, wss, bs, skip_step, x_zero, skip_zero)
    real_inner = DequantizeLinear (inner, inner_step)
    real_skip = DequantizeLinear (skip, skip_step, skip_zero)
    added = Add (real_inner, real_skip)
    y = QuantizeLinear (added, y_step, y_zero)
}}"""


@dataclass(frozen=True, slots=True)
class _Steps:
    """Names of a quantised tensor, of its step and of its zero point; that has none where it is 0."""

    values: str
    step: str
    zero: str


def add_int8(graph: Graph, network: IntegerNet, log_mel: str, logits: str) -> None:
    """Add nodes from the value `log_mel` (batch, 1, bands, frames) to the value `logits` (batch, classes)."""
    blocks = network.integer_blocks()
    skip_block = (_SKIP_BLOCK,) if len(blocks) > 1 else ()
    graph.functions(_LAYER, _block(network.architecture.cardinality), *skip_block)
    x = _quantised(graph, "input", network.input, log_mel)
    x = _layer(graph, "stem", network.stem, x, pads=PADS)
    for index, block in enumerate(blocks):
        x = _add_block(graph, f"blocks.{index}", block, x)
    x = _quantised(graph, "pool_output", network.pool_output, statistics(graph, _real(graph, x)))
    weight = dense_kernel(network.dense.weight, network.architecture.widths[-1])
    x = _layer(graph, "dense", network.dense, x, pads=NO_PADS, weight=weight)
    graph.node("Flatten", _real(graph, x), output=logits)


def _quantised(graph: Graph, name: str, quantiser: IntegerQuantiser, real: str) -> _Steps:
    step, zero = _grid(graph, name, quantiser)
    return _Steps(graph.node("QuantizeLinear", real, step, zero), step, zero)


def _real(graph: Graph, x: _Steps) -> str:
    return graph.node("DequantizeLinear", x.values, x.step, x.zero)


def _layer(
    graph: Graph, name: str, layer: IntegerLayer, x: _Steps, *, pads: list[int], weight: Tensor | None = None
) -> _Steps:
    """A call of a layer of stride 1 and one group; `weight` is its weight in another shape."""
    tensors, step, zero = _stored(graph, name, layer, weight)
    y = graph.node("L", x.values, x.step, *tensors, step, x.zero, zero, s=[1, 1], g=1, p=pads)
    return _Steps(y, step, zero)


def _add_block(graph: Graph, name: str, block: IntegerBlock, x: _Steps) -> _Steps:
    inner = (block.conv1.output, block.conv2.output, block.se_output)
    assert not any(map(_zero_point, inner)), f"{name}: a grid that a ReLU is left to must start at 0"
    stride = list(block.conv1.stride)
    se = _squeeze_excite(block.se)
    if block.skip is None or block.add is None:
        gate = [graph.constant(f"{name}.se.{key}", values.numpy()) for key, values in se.items()]
        one, step1, _ = _stored(graph, f"{name}.conv1", block.conv1)
        two, step2, _ = _stored(graph, f"{name}.conv2", block.conv2)
        step, _ = _grid(graph, f"{name}.se_output", block.se_output)
        return _Steps(
            graph.node("B", x.values, x.step, *one, step1, *two, step2, *gate, step, x.zero, s=stride), step, ""
        )
    convolutions = {"conv1": block.conv1, "conv2": block.conv2, "skip": block.skip}
    tensors = [graph.constant(f"{name}.{key}.weight", raised(layer.weight)) for key, layer in convolutions.items()]
    scales = torch.cat([*(layer.weight_scale for layer in convolutions.values()), se.pop("expand.bias")])
    biases = torch.cat([layer.bias for layer in convolutions.values()])
    steps = torch.stack([quantiser.scale for quantiser in (*inner, block.skip.output)])
    for key, values in {"by_channel": scales, "biases": biases, "scales": steps, **se}.items():
        tensors.append(graph.constant(f"{name}.{key}", values.numpy()))
    skip_zero = _zero(graph, f"{name}.skip.output", block.skip.output)
    step, zero = _grid(graph, f"{name}.add", block.add)
    y = graph.node("S", x.values, x.step, *tensors, step, x.zero, skip_zero, zero, s=stride)
    return _Steps(y, step, zero)


def _stored(
    graph: Graph, name: str, layer: IntegerLayer, weight: Tensor | None = None
) -> tuple[tuple[str, str, str], str, str]:
    """Names of weight, weight scale and bias, then of the output's step and zero point."""
    tensors = (
        graph.constant(f"{name}.weight", raised(layer.weight if weight is None else weight)),
        graph.constant(f"{name}.weight_scale", layer.weight_scale.numpy()),
        graph.constant(f"{name}.bias", layer.bias.numpy()),
    )
    return tensors, *_grid(graph, f"{name}.output", layer.output)


def _grid(graph: Graph, name: str, quantiser: IntegerQuantiser) -> tuple[str, str]:
    return graph.constant(f"{name}.scale", quantiser.scale.numpy()), _zero(graph, name, quantiser)


def _zero(graph: Graph, name: str, quantiser: IntegerQuantiser) -> str:
    zero_point = _zero_point(quantiser)
    return graph.constant(f"{name}.zero_point", np.asarray(zero_point, np.uint8)) if zero_point else ""


def _zero_point(quantiser: IntegerQuantiser) -> int:
    return int(quantiser.zero_point)


def raised(weight: Tensor) -> NDArray[np.uint8]:
    """Weights of -128 to 127 as they are written: 0 to 255, around `WEIGHT_ZERO`."""
    found: NDArray[np.uint8] = (weight.to(torch.int16) + WEIGHT_ZERO).to(torch.uint8).numpy()
    return found


def _squeeze_excite(se: SqueezeExcite) -> dict[str, Tensor]:
    """Weights, as kernels of 1 x 1, and biases of both layers; the last is the bias of the second."""
    weight, bias = expand_behind_norm(se)
    return {
        "reduce.weight": se.reduce.weight[:, :, None, None],
        "reduce.bias": se.reduce.bias,
        "expand.weight": weight[:, :, None, None],
        "expand.bias": bias,
    }


def expand_behind_norm(se: SqueezeExcite) -> tuple[Tensor, Tensor]:
    """Weight (channels, bottleneck) and bias (channels,) of the second layer with the stored norm before it in them.

    norm(r) = r f + (b - m f) with f = w / sqrt(v + eps), so E norm(r) + c = (E f) r + (E (b - m f) + c).
    """
    norm = se.norm
    assert isinstance(norm, StoredNorm)
    factor = norm.weight.double() * torch.rsqrt(norm.running_var.double() + torch.nn.BatchNorm1d(1).eps)
    weight = se.expand.weight.double()
    offset = weight @ (norm.bias.double() - norm.running_mean.double() * factor)
    return (weight * factor).float(), (offset + se.expand.bias).float()
