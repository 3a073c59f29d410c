"""The 16-bit form as ONNX, from log-mel to logits: float16 numbers behind casts to float32, float arithmetic.

onnxruntime casts when it loads the file (constant folding), so nothing of it is left when the network runs. What is
written is exactly what is stored: batch norms of SE bottlenecks are not folded, for their product is no float16 number.
"""

from torch import Tensor, nn

from asc.export.onnx_graph import DOMAIN, Graph
from asc.export.onnx_parts import NO_PADS, OPSET, PADS, dense_kernel, statistics
from asc.quant.half import HalfBlock, HalfNet, to_float16

_HEAD = f'<domain: "{DOMAIN}", opset_import: ["": {OPSET}, "{DOMAIN}": 1]>'

_LAYER = f"""{_HEAD}
L <s, g, p> (x, half_weight, half_bias) => (y) {{
    weight = Cast <to = 1> (half_weight)
    bias = Cast <to = 1> (half_bias)
    y = Conv <strides: ints = @s, group: int = @g, pads: ints = @p> (x, weight, bias)
}}"""


def _block(groups: int) -> str:
    return f"""{_HEAD}
B <s> (x, w1, b1, w2, b2, reduce, reduce_b, nw, nb, nm, nv, expand, expand_b) => (y) {{
    one = {DOMAIN}.L <s: ints = @s, g = 1, p = {PADS}> (x, w1, b1)
    kept_one = Relu (one)
    two = {DOMAIN}.L <s = [1, 1], g = {groups}, p = {PADS}> (kept_one, w2, b2)
    kept_two = Relu (two)
    pooled = GlobalAveragePool (kept_two)
    reduced = {DOMAIN}.L <s = [1, 1], g = 1, p = {NO_PADS}> (pooled, reduce, reduce_b)
    kept = Relu (reduced)
    norm_weight = Cast <to = 1> (nw)
    norm_bias = Cast <to = 1> (nb)
    norm_mean = Cast <to = 1> (nm)
    norm_variance = Cast <to = 1> (nv)
    normed = BatchNormalization (kept, norm_weight, norm_bias, norm_mean, norm_variance)
    expanded = {DOMAIN}.L <s = [1, 1], g = 1, p = {NO_PADS}> (normed, expand, expand_b)
    gate = Sigmoid (expanded)
    y = Mul (kept_two, gate)
}}"""


_SKIP_BLOCK = f"""{_HEAD}
S <s> (x, w1, b1, w2, b2, reduce, reduce_b, nw, nb, nm, nv, expand, expand_b, ws, bs) => (y) {{
    inner = {DOMAIN}.B <s: ints = @s> (x, w1, b1, w2, b2, reduce, reduce_b, nw, nb, nm, nv, expand, expand_b)
    skip = {DOMAIN}.L <s: ints = @s, g = 1, p = {NO_PADS}> (x, ws, bs)
    y = Add (inner, skip)
}}"""


def add_float16(graph: Graph, network: HalfNet, log_mel: str, logits: str) -> None:
    """Add nodes from the value `log_mel` (batch, 1, bands, frames) to the value `logits` (batch, classes)."""
    skip_block = (_SKIP_BLOCK,) if len(network.blocks) > 1 else ()
    graph.functions(_LAYER, _block(network.architecture.cardinality), *skip_block)
    x = graph.node("Relu", _layer(graph, log_mel, _stored(graph, "stem", network.stem), PADS))
    for index, block in enumerate(network.blocks):
        assert isinstance(block, HalfBlock)
        x = _add_block(graph, f"blocks.{index}", block, x)
    dense = _stored(graph, "dense", network.dense, dense_kernel(network.dense.weight, network.architecture.widths[-1]))
    graph.node("Flatten", _layer(graph, statistics(graph, x), dense, NO_PADS), output=logits)


def _layer(graph: Graph, x: str, stored: list[str], pads: list[int]) -> str:
    return graph.node("L", x, *stored, s=[1, 1], g=1, p=pads)


def _add_block(graph: Graph, name: str, block: HalfBlock, x: str) -> str:
    tensors = [*_stored(graph, f"{name}.conv1", block.conv1), *_stored(graph, f"{name}.conv2", block.conv2)]
    tensors += _stored(graph, f"{name}.se.reduce", block.se.reduce)
    norm = block.se.norm.state_dict()
    tensors += [_constant(graph, f"{name}.se.norm.{key}", value) for key, value in norm.items()]
    tensors += _stored(graph, f"{name}.se.expand", block.se.expand)
    stride = list(block.stride)
    if block.skip is None:
        return graph.node("B", x, *tensors, s=stride)
    return graph.node("S", x, *tensors, *_stored(graph, f"{name}.skip", block.skip), s=stride)


def _stored(graph: Graph, name: str, layer: nn.Conv2d | nn.Linear, weight: Tensor | None = None) -> list[str]:
    """Names of weight and bias; `weight` is the layer's in another shape."""
    kernel = layer.weight if weight is None else weight
    kernel = kernel[:, :, None, None] if kernel.dim() == 2 else kernel
    assert layer.bias is not None
    return [_constant(graph, f"{name}.weight", kernel), _constant(graph, f"{name}.bias", layer.bias)]


def _constant(graph: Graph, name: str, values: Tensor) -> str:
    return graph.constant(name, to_float16(values).numpy())
