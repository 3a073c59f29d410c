"""The memory plan compared with onnxruntime, which computes every tensor of the plan with the same size."""

import dataclasses
import json
import math
import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import inliner
from onnx_networks import SMALL, log_mels, model_info, stored_network

from asc.config.architecture import Architecture
from asc.config.experiment import Compression, Experiment
from asc.config.front_end import FrontEnd
from asc.export.onnx import build_onnx
from asc.size.activations import FLOAT_BYTES, Tensor, activation_steps


def plan(experiment: Experiment, frames: int) -> list[Tensor]:
    """The tensors of the plan in the order in which they are computed."""
    seconds = frames * experiment.front_end.hop_s
    steps = activation_steps(experiment, seconds=seconds)
    return list(dict.fromkeys(tensor for step in steps for tensor in step.live))


def computed(experiment: Experiment, frames: int) -> list[tuple[str, np.ndarray]]:
    """(operator, output) of all operators in order, computed by onnxruntime without optimisation."""
    data = build_onnx(stored_network(experiment, frames=24), model_info(experiment), source="log_mel")
    model = inliner.inline_local_functions(onnx.load_from_string(data))
    del model.graph.output[:]
    nodes = list(model.graph.node)
    model.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in nodes)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = session.run(None, {"log_mel": log_mels(experiment, 1, frames, seed=1).numpy()})
    return [(node.op_type, value) for node, value in zip(nodes, values, strict=True)]


INT8 = {
    "input": "QuantizeLinear",
    "stem": "QuantizeLinear",
    "conv1": "QuantizeLinear",
    "conv2": "QuantizeLinear",
    "dequantise": "DequantizeLinear",
    "pool": "GlobalAveragePool",
    "reduce": "Conv",
    "relu": "Relu",
    "expand": "Conv",
    "sigmoid": "Sigmoid",
    "scale": "Mul",
    "se_output": "QuantizeLinear",
    "skip": "QuantizeLinear",
    "add": "QuantizeLinear",
    "pool_output": "QuantizeLinear",
    "dense": "QuantizeLinear",
    "logits": "Flatten",
}
"""The operator that computes each kind of tensor in the plan; the norm of SE is folded into a convolution."""
FLOAT16 = {**INT8, "stem": "Relu", "conv1": "Relu", "conv2": "Relu", "norm": "BatchNormalization"}
FLOAT16 |= {"skip": "Conv", "add": "Add", "dense": "Conv"}


def assert_in_order(tensors: list[Tensor], found: list[tuple[str, np.ndarray]], operators: dict[str, str]) -> None:
    """Check that operators write the tensors of the plan in its order, with as many elements and bytes."""
    left = iter(found)
    for tensor in tensors:
        kind = tensor.name.rpartition(".")[2]
        if tensor.name == "log_mel" or (kind == "norm" and "norm" not in operators):
            continue
        operator = "Concat" if tensor.name == "pool" else operators[kind]
        sought = operator, math.prod(tensor.shape), tensor.size_bytes
        assert any((name, value.size, value.nbytes) == sought for name, value in left), tensor


def drawn(seed: int) -> Experiment:
    """A random small network."""
    rng = random.Random(seed)
    depths = tuple(rng.randint(1, 2) for _ in range(rng.randint(1, 3)))
    architecture = Architecture(
        widths=tuple(2 * rng.randint(1, 6) for _ in depths),
        depths=depths,
        se_bottlenecks=tuple(rng.randint(1, 4) for _ in depths),
        frequency_strides=tuple(rng.randint(1, 3) for _ in range(sum(depths))),
        time_strides=tuple(rng.randint(1, 3) for _ in range(sum(depths))),
        cardinality=2,
        classes=rng.randint(2, 9),
    )
    return dataclasses.replace(SMALL, front_end=FrontEnd(mel_bands=rng.randint(8, 30)), architecture=architecture)


@pytest.mark.parametrize(("seed", "frames"), [(None, 50), (1, 13), (2, 40), (3, 29)])
def test_every_tensor_of_an_int8_plan_is_computed(seed: int | None, frames: int) -> None:
    experiment = Experiment() if seed is None else drawn(seed)
    tensors = plan(experiment, frames)
    found = computed(experiment, frames)
    assert_in_order(tensors, found, INT8)
    # Nothing else is quantised.
    steps = [value.nbytes for _, value in found if value.dtype == np.uint8]
    assert steps == [tensor.size_bytes for tensor in tensors if tensor.bytes_each == 1]


@pytest.mark.parametrize(("seed", "frames"), [(4, 25), (5, 31)])
def test_every_tensor_of_a_float16_plan_is_computed(seed: int, frames: int) -> None:
    experiment = dataclasses.replace(drawn(seed), compression=Compression(storage="float16"))
    tensors = plan(experiment, frames)
    assert {tensor.bytes_each for tensor in tensors} == {FLOAT_BYTES}
    assert_in_order(tensors, computed(experiment, frames), FLOAT16)


def test_fused_operators_of_onnxruntime_write_as_many_bytes_as_planned(tmp_path: Path) -> None:
    experiment, frames = SMALL, 40
    data = build_onnx(stored_network(experiment), model_info(experiment), source="log_mel")
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    session.run(None, {"log_mel": log_mels(experiment, 1, frames, seed=1).numpy()})
    events = json.loads(Path(session.end_profiling()).read_text())
    written = [
        int(event["args"]["output_size"])
        for event in events
        if event["cat"] == "Node"
        and event["args"].get("op_name") in ("QLinearConv", "QLinearAdd")
        and event["name"].endswith("_kernel_time")
    ]
    layers = ("stem", ".conv1", ".conv2", ".skip", ".add", "dense")
    planned = [tensor.size_bytes for tensor in plan(experiment, frames) if tensor.name.endswith(layers)]
    assert sorted(written) == sorted(planned)
