"""Runs a .tflite file with the kernels of TensorFlow Lite Micro, if the package `tflite-micro` is installed.

These are the reference kernels, which devices use unless their vendor provides others.
https://github.com/tensorflow/tflite-micro/blob/main/python/tflite_micro/README.md
"""

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asc.export.litert import TensorGrid


def micro_is_installed() -> bool:
    """Whether the package `tflite-micro` is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


class MicroSession:
    """Runs a .tflite file in this process."""

    def __init__(self, data: bytes, *, arena_bytes: int) -> None:
        """Load the file from memory and allocate the interpreter's arena."""
        from tflite_micro.python.tflite_micro import runtime

        self._interpreter = runtime.Interpreter.from_bytes(data, arena_size=arena_bytes)
        self.input = _grid("input", self._interpreter.get_input_details(0))
        self.output = _grid("output", self._interpreter.get_output_details(0))

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map log-mel (1, 1, mel_bands, frames) to logits (1, classes), both float32, through the file's int8 grids."""
        self._interpreter.set_input(self.input.steps(x), 0)
        self._interpreter.invoke()
        return self.output.values(self._interpreter.get_output(0))


def _grid(name: str, details: dict[str, Any]) -> TensorGrid:
    grid, shape = details["quantization_parameters"], tuple(int(size) for size in details["shape"])
    if len(grid["scales"]) == 0:
        return TensorGrid(name=name, shape=shape, scale=0.0, zero_point=0)  # float32
    return TensorGrid(name=name, shape=shape, scale=float(grid["scales"][0]), zero_point=int(grid["zero_points"][0]))
