"""Turns asc's float32 network into what eager torch makes of it: without the gradients of `asc.models.gradients`."""

from functools import partial

from torch import Tensor, nn

from asc.models import layers
from asc.models.float_layers import FloatConv1x1


def use_torchs_gradients(network: nn.Module) -> None:
    """Make strided projections and the means of gates those of torch."""
    for module in network.modules():
        if isinstance(module, FloatConv1x1):
            module.forward = partial(_projection, module)  # type: ignore[method-assign]
        elif isinstance(module, layers.SqueezeExcite):
            module.forward = partial(module.forward, pooling=layers.mean_of_map)  # type: ignore[method-assign]


def _projection(module: FloatConv1x1, x: Tensor, input_scale: Tensor) -> Tensor:
    y: Tensor = module.conv(layers.every(x, module.stride))
    return y
