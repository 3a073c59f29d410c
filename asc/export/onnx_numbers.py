"""The numbers of the 8-bit form, as arrays for an ONNX file."""

from typing import Any, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asc.export.onnx_parameters import Parameter
from asc.export.onnx_parts import dense_kernel
from asc.models.integer import IntegerNet
from asc.models.layers import folded_expand
from asc.topology.layers import (
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
    Projection,
    ResidualNorm,
    ResponseNorm,
    SqueezeExcite,
    StatisticsPool,
    SubSpectralConv,
    Swish,
)

WEIGHT_ZERO = 128
Array = NDArray[Any]


class Numbers:
    """The numbers of a network by layer and key.

    A convolution or dense layer has `weight`, `weight_scale` and (unless it has none) `bias`; SE has weights and biases
    of its two linear layers. Every layer on a grid has its `scale`, and its `zero` point unless that is 0.
    """

    def __init__(self, network: IntegerNet) -> None:
        """Take the stored network's numbers."""
        self._network = network

    def of(self, layer: Layer) -> dict[str, Array]:
        """Return the arrays of a layer by key, in the order in which they are written.

        Weights are uint8 (outputs, inputs of a group, rows, columns), scales float32, biases int32; SE's are float32.
        """
        if isinstance(layer, AveragePool | MaxPool):
            return {}  # it is on the grid of its input
        if isinstance(layer, BandNorm):
            return self._own(layer)  # it is on no grid
        grid = self._network.grid_of(layer.name)
        numbers = {**self._own(layer), "scale": grid.scale.numpy()}
        zero_point = int(grid.zero_point)
        starts_at_zero = layer.name in self._network.topology.nonnegative
        assert not (zero_point and starts_at_zero), f"{layer.name}: a grid that replaces a ReLU must have zero point 0"
        return {**numbers, "zero": np.asarray(zero_point, np.uint8)} if zero_point else numbers

    def packed(self, parameter: Parameter) -> Array | None:
        """Return the numbers for a parameter of a function as one array; None for a zero point of 0."""
        found = [self.of(member.layer).get(member.key) for member in parameter.members]
        if len(found) == 1:
            return found[0]
        return np.concatenate([np.atleast_1d(values) for values in found if values is not None])

    def _own(self, layer: Layer) -> dict[str, Array]:
        match layer:
            case BandNorm():
                module = self._network.module_of(layer)
                return {"mean": module.mean[:, None].numpy(), "deviation": module.deviation[:, None].numpy()}
            case ConvNorm() | Projection() | Dense():
                module = self._network.module_of(layer)
                weight = module.weight
                if isinstance(layer, Dense):
                    weight = dense_kernel(weight, self._network.topology)
                numbers = {"weight": raised(weight), "weight_scale": module.weight_scale.numpy()}
                return numbers if module.bias is None else {**numbers, "bias": module.bias.numpy()}
            case SubSpectralConv(channels=channels):
                module = self._network.module_of(layer)
                scale, shift = (values.view(channels, -1, 1) for values in (module.band_scale, module.band_shift))
                # Signed, for they are not factors of an integer convolution.
                return {"weight": module.weight.numpy(), "band_scale": scale.numpy(), "band_shift": shift.numpy()}
            case SqueezeExcite():
                module = self._network.module_of(layer)
                weight, bias = folded_expand(module)
                return {
                    "reduce.weight": module.reduce.weight[:, :, None, None].numpy(),
                    "reduce.bias": module.reduce.bias.numpy(),
                    "expand.weight": weight[:, :, None, None].numpy(),
                    "expand.bias": bias.numpy(),
                }
            case ResponseNorm():
                module = self._network.module_of(layer)
                return {"norm.weight": module.weight.numpy(), "norm.bias": module.bias.numpy()}
            case Input() | ResidualNorm() | Add() | Swish() | FrequencyMean() | AveragePool() | MaxPool():
                return {}
            case StatisticsPool() | MeanPool():
                return {}
            case _:
                assert_never(layer)


def raised(weight: Tensor) -> NDArray[np.uint8]:
    """Convert int8 weights (any shape) to uint8 ones around `WEIGHT_ZERO`, as they are written."""
    found: NDArray[np.uint8] = (weight.to(torch.int16) + WEIGHT_ZERO).to(torch.uint8).numpy()
    return found
