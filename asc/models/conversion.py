"""Converts a trained network to its stored form.

A module of its own, so that running a stored network needs none of the layers that only training has.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from asc.models.activation_grid import ActivationQuantiser
from asc.models.float16 import HalfNet
from asc.models.float_layers import FloatConv1x1, FloatConvBn, FloatLinear, FloatMapLinear, FloatSubSpectral
from asc.models.integer import IntegerNet
from asc.models.layers import BandNorm, ResponseNorm, SqueezeExcite, affine, folded
from asc.models.network import Network
from asc.models.stored import StoredNet
from asc.topology.layers import ConvNorm, Dense, Projection, SubSpectralConv, has_bias


def to_stored(network: Network) -> StoredNet:
    """The stored form of a trained network, on the network's device.

    Raises:
        RuntimeError: an activation quantiser of the network never saw a batch.
    """
    match network.storage:
        case "int8":
            return to_integer(network)
        case "float16":
            return to_half(network)


def to_integer(network: Network) -> IntegerNet:
    """The integer form of a trained network, on its device; it equals eval mode except for the rounding of float sums.

    Raises:
        RuntimeError: an activation quantiser of the network never saw a batch.
        ValueError: the network was trained without quantisation.
    """
    if network.storage != "int8":
        raise ValueError(f"a network with storage {network.storage} has no integer form")
    integer = IntegerNet(network.topology, network.front_end)
    integer.load_state_dict(dict(_integer_state(network)), strict=True)
    return integer.to(network.batch_norm_frozen.device)


def _integer_state(network: Network) -> Iterator[tuple[str, Tensor]]:
    for name, module in network.named_modules():
        if isinstance(module, ActivationQuantiser):
            module.require_range()
            yield f"{name}.scale", module.scale
            yield f"{name}.zero_point", module.zero_point
        elif isinstance(module, BandNorm | SqueezeExcite | ResponseNorm):
            for key, value in module.state_dict(prefix=f"{name}.").items():
                if not key.endswith("num_batches_tracked"):
                    yield key, value
    for layer in network.topology.layers:
        if isinstance(layer, ConvNorm | Projection | Dense):
            module = network.module_of(layer)
            stored = module.stored(network.grid_of(layer.reads[0]).scale)
            yield f"{layer.name}.weight", stored.weight
            if has_bias(layer):
                yield f"{layer.name}.bias", stored.bias
            yield f"{layer.name}.weight_scale", stored.weight_scale
        elif isinstance(layer, SubSpectralConv):
            bands = network.module_of(layer).stored()
            yield f"{layer.name}.weight", bands.weight
            yield f"{layer.name}.band_scale", bands.scale
            yield f"{layer.name}.band_shift", bands.shift


def to_half(network: Network) -> HalfNet:
    """The 16-bit form of a network that was trained without quantisation, on the network's device.

    Raises:
        ValueError: the network was trained for another storage.
    """
    if network.storage != "float16":
        raise ValueError(f"a network with storage {network.storage} has no 16-bit form")
    half = HalfNet(network.topology, network.front_end)
    half.load_state_dict({name: to_float16(tensor) for name, tensor in _half_state(network)}, strict=True)
    return half.to(next(network.parameters()).device)


def _half_state(network: Network) -> Iterator[tuple[str, Tensor]]:
    for name, module in network.named_modules():
        match module:
            case FloatConvBn(norm=None):
                yield f"{name}.weight", module.conv.weight
            case FloatSubSpectral():
                scale, shift = affine(module.norm)
                yield f"{name}.weight", module.conv.weight
                yield f"{name}.band_scale", scale
                yield f"{name}.band_shift", shift
            case FloatConvBn(norm=nn.BatchNorm2d() as norm):
                weight, bias = folded(module.conv, norm)
                yield f"{name}.weight", weight
                yield f"{name}.bias", bias
            case FloatMapLinear():
                weight, bias = folded(module.linear, module.norm)
                yield f"{name}.weight", weight
                yield f"{name}.bias", bias
            case FloatConv1x1(conv=inner) | FloatLinear(linear=inner):
                assert isinstance(inner, nn.Conv2d | nn.Linear) and inner.bias is not None
                yield f"{name}.weight", inner.weight
                yield f"{name}.bias", inner.bias
            case BandNorm() | SqueezeExcite() | ResponseNorm():
                for key, value in module.state_dict(prefix=f"{name}.").items():
                    if not key.endswith("num_batches_tracked"):
                        yield key, value


def to_float16(tensor: Tensor) -> Tensor:
    """A tensor of any shape rounded to float16; values beyond its range become the largest of either sign."""
    largest = torch.finfo(torch.float16).max
    return tensor.detach().clamp(-largest, largest).half()
