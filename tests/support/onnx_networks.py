"""Stored networks for the ONNX tests, with ranges set by a few batches, and the metadata of a file."""

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import inliner, numpy_helper
from torch import Tensor

from asc.config.architecture import Architecture
from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.front_end import FrontEnd
from asc.model_file.model_info import DataIdentity, ModelInfo, longest
from asc.models.build import build_network
from asc.models.conversion import to_stored
from asc.models.integer import IntegerNet
from asc.models.stored import StoredNet

SMALL = Experiment(
    front_end=FrontEnd(sample_rate_hz=8000, dft_points=256, mel_bands=20),
    architecture=Architecture(
        widths=(8, 12),
        depths=(2, 1),
        se_bottlenecks=(2, 3),
        frequency_strides=(2, 1, 3),
        time_strides=(1, 2, 2),
        cardinality=4,
        classes=6,
    ),
)


def log_mels(experiment: Experiment, clips: int, frames: int, *, seed: int) -> Tensor:
    """Noise of a different level per clip and band: (clips, 1, bands, frames) float32."""
    generator = torch.Generator().manual_seed(seed)
    shape = clips, 1, experiment.front_end.mel_bands, frames
    return 2 * torch.randn(shape, generator=generator) * torch.rand(shape[:3], generator=generator)[..., None]


def stored_network(experiment: Experiment, *, frames: int = 60) -> StoredNet:
    """The stored form of a network with random weights, whose logits spread over the last layer's grid."""
    parts = experiment.architecture, experiment.front_end
    network = build_network(*parts, seed=3, storage=experiment.compression.storage).train()
    for seed in range(4):
        network(log_mels(experiment, 8, frames, seed=seed))
    return to_stored(network.eval())


def model_info(experiment: Experiment) -> ModelInfo:
    """The metadata of a network's file, with labels that need escapes."""
    labels = ('down "fast"', "\u00fcp", *(f"scene {number}" for number in range(2, experiment.architecture.classes)))
    return longest(experiment, labels, DataIdentity(choice=DataChoice("csv:meta.csv"), digest="0" * 12))


def assert_agreement(network: StoredNet, found: NDArray[np.float32], stored: NDArray[np.float32], steps: int) -> None:
    """Check that logits (clips, classes) agree within `steps` steps (DESIGN, "one step"), or float ones to rounding."""
    assert found.shape == stored.shape and found.dtype == np.float32
    assert len(np.unique(stored)) > 5, "constant logits would prove nothing"
    if not isinstance(network, IntegerNet):
        np.testing.assert_allclose(found, stored, rtol=0, atol=1e-5 * np.abs(stored).max() * 10 ** (steps - 1))
        return
    step = float(network.classifier.output.scale) * 1.001
    assert np.abs(found - stored).max() <= steps * step
    differs = found.argmax(1) != stored.argmax(1)
    for logits in (found, stored):
        top = np.sort(logits, axis=1)[:, -2:]
        assert (top[differs, 1] - top[differs, 0] <= steps * step).all()


def with_int8_weights(data: bytes) -> bytes:
    """The same ONNX file with int8 weights, 128 below its uint8 ones: correct by the standard, wrong without VNNI."""
    model = inliner.inline_local_functions(onnx.load_from_string(data))
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in stored:
            continue
        weight = numpy_helper.to_array(stored[node.input[0]])
        if weight.dtype == np.uint8:
            lowered = (weight.astype(np.int16) - 128).astype(np.int8)
            stored[node.input[0]].CopyFrom(numpy_helper.from_array(lowered, node.input[0]))
            del node.input[2]
    changed: bytes = model.SerializeToString()
    return changed
