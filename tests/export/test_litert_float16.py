"""Constants of a LiteRT file in float16: exactly the stored ones; needs the extra `litert`."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_networks import trained

from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.export.graph import graph_of
from asc.export.litert import LitertSession
from asc.export.litert_float16 import with_float16
from asc.export.quiet import quiet
from asc.models.stored import StoredNet

litert_torch = pytest.importorskip("litert_torch", reason='needs pip install -e ".[litert]"')
# The converter takes half a minute of processor time, and minutes on a busy machine.
pytestmark = pytest.mark.timeout(1800)
FRAMES = 50


@pytest.fixture(scope="module")
def network(tiny_experiment: Experiment, tiny_dataset: Dataset) -> StoredNet:
    """A network with squeeze-and-excitation, whose norms must not be folded into weights."""
    return trained(tiny_experiment.updated({"architecture.widths": [16, 32]}), tiny_dataset, storage="float16")


@pytest.fixture(scope="module")
def in_float32(network: StoredNet) -> bytes:
    example = (torch.zeros(1, 1, 16, FRAMES),)
    with quiet():
        return bytes(litert_torch.convert(graph_of(network, converter="litert"), example).model_content())


def constants(data: bytes) -> Mapping[str, list[NDArray[np.float64]]]:
    """The values of a file's constants, sorted, by their type."""
    from ai_edge_litert import schema_py_generated as schema

    model, found = schema.ModelT.InitFromPackedBuf(data, 0), {"<f2": [], "<f4": []}
    types = {schema.TensorType.FLOAT16: "<f2", schema.TensorType.FLOAT32: "<f4"}
    for tensor in model.subgraphs[0].tensors:
        raw = model.buffers[tensor.buffer].data
        if tensor.type in types and raw is not None:
            kind = types[tensor.type]
            found[kind].append(np.sort(np.frombuffer(bytes(raw), kind).astype(np.float64)))
    return found


def test_every_stored_tensor_that_is_long_enough_is_in_the_file_as_it_is(network: StoredNet, in_float32: bytes) -> None:
    stored = [np.sort(x.double().numpy().ravel()) for x in network.state_dict().values() if x.numel() >= 48]
    halves = constants(with_float16(in_float32))["<f2"]
    assert len(stored) > 5
    for values in stored:
        assert any(np.array_equal(values, other) for other in halves)


def test_what_float16_cannot_hold_stays_in_float32_and_nothing_is_lost(in_float32: bytes) -> None:
    before, after = constants(in_float32), constants(with_float16(in_float32))
    assert before["<f2"] == [] and len(after["<f2"]) > 5
    for values in after["<f4"]:
        exact = np.array_equal(values.astype(np.float16).astype(np.float64), values)
        assert len(values) < 48 or not exact
    counted = sorted(len(values) for kind in after.values() for values in kind)
    assert counted == sorted(len(values) for values in before["<f4"])


def test_the_file_is_smaller_and_computes_the_same(in_float32: bytes) -> None:
    smaller = with_float16(in_float32)
    assert len(smaller) < 0.75 * len(in_float32)
    for kernels in ("XNNPACK", "optimised", "reference"):
        sessions = [LitertSession(data, kernels) for data in (in_float32, smaller)]
        assert "DEQUANTIZE" in sessions[1].operators
        for seed in range(4):
            log_mel = np.random.default_rng(seed).normal(-5, 3, (1, 1, 16, FRAMES)).astype(np.float32)
            before, after = (session.logits(log_mel) for session in sessions)
            np.testing.assert_allclose(after, before, rtol=0, atol=1e-5 * np.abs(before).max())
