"""The emulation of saturating products equals onnxruntime, including its errors on processors without VNNI."""

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx_networks import SMALL, model_info, stored_network, with_int8_weights

from asc.export.onnx import Source, build_onnx
from asc.export.processor import products_overflow, this_machine
from asc.export.saturating import added, neighbours, overflowing_pairs, products_of, quantised_weights
from asc.models.integer_layers import IntegerLayer

OVERFLOWS = products_overflow(*this_machine())
PADS, ZERO, Y_ZERO, Y_STEP = 1, 3, 100, 2.0**7
"""Scales are powers of two, so that the reference rounds like onnxruntime."""


@pytest.mark.parametrize(
    ("activations", "weights", "signed", "expected"),
    [
        ([255, 255], [127, 127], True, 32_767),
        ([255, 255], [-128, -127], True, -32_768),
        ([255, 255], [127, -127], True, 0),
        ([255, 255], [127, 1], True, 32_640),
        ([255, 255], [127, 2], True, 32_767),
        ([200, 100], [127, 73], True, 32_700),
        ([255, 255], [255, 255], False, 130_050),
    ],
)
def test_sums_of_two_products_saturate(activations: list[int], weights: list[int], signed: bool, expected: int) -> None:
    assert added(np.array(activations, np.uint8), np.array(weights, np.int64), signed=signed) == expected


def test_neighbours_are_inputs_at_one_kernel_position() -> None:
    weight = np.arange(2 * 3 * 1 * 2, dtype=np.int8).reshape(2, 3, 1, 2)
    # Output 0 has the weights 0 2 4 at the first kernel position and 1 3 5 at the second.
    assert neighbours(weight)[0].tolist() == [[0, 2], [4, 1], [3, 5]]
    assert neighbours(weight[:, :, :, :1])[1].tolist() == [[6, 8], [10, 0]]


def test_pairs_that_can_overflow_are_counted() -> None:
    weight = np.array([[127, 1], [127, 2], [-128, 0], [-128, -1], [127, -128], [64, 64]], np.int8)[:, :, None, None]
    assert overflowing_pairs(weight) == 2
    assert overflowing_pairs((weight + np.int16(128)).astype(np.uint8)) == 0


def layer(weight: NDArray[np.int8] | NDArray[np.uint8], groups: int) -> bytes:
    """An ONNX file with one quantised convolution from uint8 to uint8; all scales are powers of two."""
    zeros = [] if weight.dtype == np.int8 else [numpy_helper.from_array(np.full(len(weight), 128, np.uint8), "w_zero")]
    constants = [
        numpy_helper.from_array(np.float32(1), "one"),
        numpy_helper.from_array(np.float32(Y_STEP), "y_step"),
        numpy_helper.from_array(np.ones(len(weight), np.float32), "w_step"),
        numpy_helper.from_array(np.uint8(ZERO), "x_zero"),
        numpy_helper.from_array(np.uint8(Y_ZERO), "y_zero"),
        numpy_helper.from_array(weight, "w"),
        *zeros,
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "one", "x_zero"], ["real_x"]),
        helper.make_node("DequantizeLinear", ["w", "w_step", *(zero.name for zero in zeros)], ["real_w"], axis=0),
        helper.make_node("Conv", ["real_x", "real_w"], ["real_y"], group=groups, pads=[PADS] * 4),
        helper.make_node("QuantizeLinear", ["real_y", "y_step", "y_zero"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, [None] * 4) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "layer", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def reference(x: NDArray[np.uint8], weight: NDArray[np.int8], groups: int, *, signed: bool) -> NDArray[np.uint8]:
    """The output of `layer`, (clips, channels, rows, columns), with weights as int8 or, plus 128, as uint8."""
    padded = np.pad(x, ((0, 0), (0, 0), (PADS, PADS), (PADS, PADS)), constant_values=ZERO)
    outputs, inputs = len(weight) // groups, weight.shape[1]
    sums = []
    for group in range(groups):
        own, given = weight[group * outputs :][:outputs], padded[:, group * inputs :][:, :inputs]
        pairs = neighbours(own) if signed else neighbours((own + np.int16(128)).astype(np.uint8))
        windows = sliding_window_view(given, own.shape[2:], axis=(2, 3)).transpose(0, 2, 3, 4, 5, 1)
        columns = windows.reshape(*windows.shape[:3], -1)
        columns = np.pad(columns, ((0, 0), (0, 0), (0, 0), (0, columns.shape[-1] % 2)))
        by_pair = columns.reshape(*columns.shape[:3], 1, -1, 2)
        raw = added(by_pair, pairs, signed=signed).sum(axis=-1)
        # Zero points are subtracted after the additions, with sums that do not overflow.
        raw -= 0 if signed else 128 * columns.astype(np.int64).sum(axis=-1)[..., None]
        sums.append(raw - ZERO * own.astype(np.int64).sum(axis=(1, 2, 3)))
    steps = np.rint(np.concatenate(sums, axis=-1) / Y_STEP) + Y_ZERO
    return np.clip(steps, 0, 255).astype(np.uint8).transpose(0, 3, 1, 2)


def exact(x: NDArray[np.uint8], weight: NDArray[np.int8], groups: int) -> NDArray[np.uint8]:
    """The output of `layer` without overflow, (clips, channels, rows, columns)."""
    return reference(x, weight, groups, signed=False)


SHAPES = {"3 x 3": (16, 8, 1), "1 input": (16, 1, 1), "odd": (8, 3, 1), "groups": (16, 4, 4), "few": (6, 8, 1)}


@pytest.fixture(params=SHAPES)
def drawn(request: pytest.FixtureRequest) -> tuple[NDArray[np.uint8], NDArray[np.int8], int]:
    """Activations (clips, channels, 7, 9), weights (outputs, inputs, 3, 3) and groups whose products overflow."""
    outputs, inputs, groups = SHAPES[request.param]
    rng = np.random.default_rng(0)
    x = rng.integers(100, 256, (2, inputs * groups, 7, 9), np.uint8)
    return x, rng.integers(-128, 128, (outputs, inputs, 3, 3), np.int8), groups


def run(data: bytes, x: NDArray[np.uint8]) -> NDArray[np.uint8]:
    (y,) = onnxruntime.InferenceSession(data).run(None, {"x": x})
    return y


def test_uint8_weights_are_exact_on_every_processor(drawn: tuple[NDArray[np.uint8], NDArray[np.int8], int]) -> None:
    x, weight, groups = drawn
    raised = (weight + np.int16(128)).astype(np.uint8)
    np.testing.assert_array_equal(run(layer(raised, groups), x), exact(x, weight, groups))


def test_int8_weights_overflow_as_emulated_if_this_processor_has_no_vnni(
    drawn: tuple[NDArray[np.uint8], NDArray[np.int8], int],
) -> None:
    x, weight, groups = drawn
    saturated = reference(x, weight, groups, signed=True)
    assert (saturated != exact(x, weight, groups)).sum() > 10, "products of this layer must overflow"
    assert overflowing_pairs(weight) > 0
    if OVERFLOWS is None:
        pytest.skip("it is not known whether this processor has VNNI")
    found = run(layer(weight, groups), x)
    np.testing.assert_array_equal(found, saturated if OVERFLOWS else exact(x, weight, groups))


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("source", ["log_mel", "waveform"])
def test_no_pair_in_our_files_can_overflow_but_many_can_with_int8_weights(source: Source, compact: bool) -> None:
    network = stored_network(SMALL)
    layers = [module.weight for module in network.modules() if isinstance(module, IntegerLayer)]
    data = build_onnx(network, model_info(SMALL), source=source, compact=compact)
    found = products_of(data)
    assert found.pairs == sum(len(weight) * -(-weight[0].numel() // 2) for weight in layers)
    assert found.overflowing == 0 and found.why_not is None
    signed = with_int8_weights(data)
    assert {str(weight.dtype) for weight in quantised_weights(onnx.load_from_string(signed))} == {"int8"}
    wrong = products_of(signed)
    assert wrong.pairs == found.pairs and wrong.overflowing > found.pairs // 20
    assert wrong.why_not and wrong.why_not.endswith("pairs of products can overflow on x86 without VNNI")
