"""A network as a LiteRT (TensorFlow Lite) file, in signed 8 bits, or in float32 with float16 weights.

It takes clips of one length. In 8 bits, SE, response norms and pooling are in float; input and output are int8 on the
stored grids, but a network that begins with a `BandNorm` takes float32 log-mel. In 16 bits both are float32.
Needs the extra `litert`.
https://ai.google.dev/edge/litert/conversion
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from asc.export.graph import graph_of
from asc.export.litert_float16 import with_float16
from asc.export.quiet import quiet
from asc.models.integer import IntegerNet
from asc.models.stored import StoredNet

Kernels = Literal["XNNPACK", "optimised", "reference"]
"""The kernels of an interpreter: its default, those without a delegate, and the slow reference ones."""

_STEPS = np.iinfo(np.int8)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorGrid:
    """Shape and grid of an input or output: value = scale x (step - zero point); float32 if the scale is 0."""

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int

    @property
    def text(self) -> str:
        """The grid in words."""
        if self.scale == 0:
            return f"float32 {self.shape}"
        return f"int8 {self.shape}, value = {self.scale!r} * (step - ({self.zero_point}))"

    def steps(self, values: NDArray[np.float32]) -> NDArray[np.int8] | NDArray[np.float32]:
        """Quantise float32 values (any shape) to the nearest int8 steps, clamped; a float32 tensor takes the values."""
        if self.scale == 0:
            return values
        found = np.rint(values * np.float32(1 / np.float32(self.scale))) + self.zero_point
        steps: NDArray[np.int8] = np.clip(found, _STEPS.min, _STEPS.max).astype(np.int8)
        return steps

    def values(self, steps: NDArray[np.int8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Dequantise int8 steps (any shape) to float32 values; a float32 tensor has the values."""
        if self.scale == 0:
            return steps.astype(np.float32, copy=False)
        found: NDArray[np.float32] = (steps.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)
        return found


def build_litert(network: StoredNet, *, frames: int) -> bytes:
    """Return the .tflite file of a network: log-mel (1, 1, mel_bands, frames) to logits (1, classes).

    Both are int8 or, of a network stored in 16 bits, float32. The log-mel is also float32 if the network begins with a
    `BandNorm`.
    """
    example = (torch.zeros(1, 1, network.front_end.mel_bands, frames),)
    module = graph_of(network, converter="litert")
    with quiet():
        import litert_torch
        from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
        from litert_torch.quantize.quant_config import QuantConfig

        if not isinstance(network, IntegerNet):
            return with_float16(bytes(litert_torch.convert(module, example).model_content()))
        # The network already has its grids; the quantiser only tells the converter so. Without one, the converter
        # silently writes float convolutions.
        quantiser = PT2EQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        converted = litert_torch.convert(module, example, quant_config=QuantConfig(pt2e_quantizer=quantiser))
        return bytes(converted.model_content())


class LitertSession:
    """Runs a .tflite file in this process, on one thread."""

    def __init__(self, data: bytes, kernels: Kernels = "XNNPACK") -> None:
        """Load the file from memory, to run with these kernels."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolvers = {
            "XNNPACK": OpResolverType.AUTO,
            "optimised": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            "reference": OpResolverType.BUILTIN_REF,
        }
        with quiet():
            self._interpreter = Interpreter(
                model_content=data, num_threads=1, experimental_op_resolver_type=resolvers[kernels]
            )
            self._interpreter.allocate_tensors()
        self.input = _grid(self._interpreter.get_input_details()[0])
        self.output = _grid(self._interpreter.get_output_details()[0])
        self._ends = (
            int(self._interpreter.get_input_details()[0]["index"]),
            int(self._interpreter.get_output_details()[0]["index"]),
        )

    @property
    def operators(self) -> tuple[str, ...]:
        """The file's operators, sorted, without duplicates: those that TFLite Micro's resolver must register."""
        return tuple(sorted({str(found["op_name"]) for found in self._interpreter._get_ops_details()} - {"DELEGATE"}))

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map log-mel (1, 1, mel_bands, frames) to logits (1, classes), both float32, through the file's int8 grids."""
        self._interpreter.set_tensor(self._ends[0], self.input.steps(x))
        self._interpreter.invoke()
        return self.output.values(self._interpreter.get_tensor(self._ends[1]))


def _grid(details: dict[str, Any]) -> TensorGrid:
    scale, zero_point = details["quantization"]
    shape = tuple(int(size) for size in details["shape"])
    return TensorGrid(name=str(details["name"]), shape=shape, scale=float(scale), zero_point=int(zero_point))
