"""Finds 8-bit products that can overflow on some x86 processors, by an integer emulation of their instructions.

Without VNNI, onnxruntime (MLAS) and oneDNN add the products of uint8 activations and int8 weights by VPMADDUBSW
(https://www.felixcloutier.com/x86/pmaddubsw): two neighbouring products are added to one 16-bit number, which saturates
at 32,767 and -32,768. For uint8 weights, MLAS widens both factors to 16 bits and adds by VPMADDWD
(https://www.felixcloutier.com/x86/pmaddwd), in 32 bits. `neighbours` says which products MLAS's convolutions pair.

A file is judged from its weights alone, for all activations. So the result does not depend on the processor that the
gate runs on, which may have VNNI.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, inliner, numpy_helper

Whole = NDArray[np.int64]
Weight = NDArray[np.int8] | NDArray[np.uint8]
Activations = NDArray[np.uint8]

LARGEST_ACTIVATION = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """How many pairs of products a file's 8-bit layers add, and how many of these can overflow without VNNI."""

    pairs: int
    overflowing: int

    @property
    def why_not(self) -> str | None:
        """What is wrong, or None."""
        if not self.overflowing:
            return None
        return f"{self.overflowing:,} of its {self.pairs:,} pairs of products can overflow on x86 without VNNI"


def products_of(data: bytes) -> Products:
    """Count the pairs of products in all convolutions of an ONNX file that have quantised weights."""
    weights = list(quantised_weights(onnx.load_from_string(data)))
    return Products(
        pairs=sum(neighbours(weight).size // 2 for weight in weights),
        overflowing=sum(overflowing_pairs(weight) for weight in weights),
    )


def quantised_weights(model: ModelProto) -> Iterator[Weight]:
    """Yield the weights (outputs, inputs of a group, rows, columns), int8 or uint8, that convolutions dequantise."""
    graph = inliner.inline_local_functions(model).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    dequantised = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in dequantised:
            yield numpy_helper.to_array(stored[dequantised[node.input[1]]])


def neighbours(weight: Weight) -> Whole:
    """Pair weights: (outputs, inputs, rows, columns) to (outputs, pairs, 2) int64.

    The order is by place in the kernel, then by input. An odd number of weights is padded with a zero.
    """
    by_place = weight.astype(np.int64).transpose(0, 2, 3, 1).reshape(len(weight), -1)
    return np.pad(by_place, ((0, 0), (0, by_place.shape[1] % 2))).reshape(len(weight), -1, 2)


def added(activations: Activations, pairs: Whole, *, signed: bool) -> Whole:
    """Return the sums (...) of activations (..., 2) times pairs (..., 2) of weights as a processor computes them.

    `signed` is whether the weights are int8 (16-bit sums, saturating) rather than uint8 (32-bit sums).
    """
    limits = np.iinfo(np.int16 if signed else np.int32)
    sums: Whole = np.clip((activations * pairs).sum(axis=-1), limits.min, limits.max)
    return sums


def overflowing_pairs(weight: Weight) -> int:
    """Count the pairs of a layer's products whose sum is wrong for some activations."""
    pairs = neighbours(weight)
    wrong = np.zeros(pairs.shape[:2], dtype=bool)
    for worst in (pairs > 0, pairs < 0):
        activations = (LARGEST_ACTIVATION * worst).astype(np.uint8)
        wrong |= added(activations, pairs, signed=weight.dtype == np.int8) != (activations * pairs).sum(axis=-1)
    return int(wrong.sum())
