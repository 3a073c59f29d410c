"""Folding the norm of an SE bottleneck into the layer behind it."""

import torch

from asc.export.onnx_int8 import expand_behind_norm
from asc.models.layers import SqueezeExcite, StoredNorm


def test_the_folded_layer_is_norm_and_layer() -> None:
    se = SqueezeExcite(12, 3, norm=StoredNorm(3)).double().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, buffer in se.norm.named_buffers():
        buffer.copy_(torch.rand(3, generator=generator) * 2 + 0.1 - 1.1 * (name != "running_var"))
    bottleneck = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    weight, bias = expand_behind_norm(se)
    assert weight.dtype == bias.dtype == torch.float32
    folded = torch.nn.functional.linear(bottleneck, weight.double(), bias.double())
    assert float((folded - se.expand(se.norm(bottleneck))).abs().max()) < 1e-6
