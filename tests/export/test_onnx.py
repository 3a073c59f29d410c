"""ONNX files pass onnx's checker, and onnxruntime and the reference evaluator give the stored network's logits."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch
from onnx import inliner, version_converter
from onnx.reference import ReferenceEvaluator
from onnx_networks import SMALL, assert_agreement, log_mels, model_info, stored_network

from asc.audio.frontend import LogMel
from asc.audio.level import quantise
from asc.config.architecture import Architecture
from asc.config.experiment import Compression, Experiment, Storage
from asc.config.front_end import FrontEnd
from asc.config.recipes.loading import load_experiment, recipe_names
from asc.export.onnx import OnnxSession, Source, build_onnx
from asc.models.integer import IntegerNet
from asc.models.stored import StoredNet

REAL = Path(__file__).parents[3] / "shared" / "data" / "esc10"
HALF = dataclasses.replace(SMALL, compression=Compression(storage="float16"))
EXPERIMENTS = {"int8": SMALL, "float16": HALF}


@pytest.fixture(scope="module", params=["int8", "float16"])
def small(request: pytest.FixtureRequest) -> tuple[Experiment, StoredNet]:
    experiment = EXPERIMENTS[request.param]
    return experiment, stored_network(experiment)


def noise(clips: int, samples: int, *, seed: int = 0) -> torch.Tensor:
    """Noise that grows louder and has a silent part, (clips, samples) float32, quantised like clips of a store."""
    waves = torch.randn(clips, samples, generator=torch.Generator().manual_seed(seed))
    waves *= torch.linspace(0.001, 0.2, samples)
    waves[:, samples // 3 : samples // 2] = 0
    return torch.stack([torch.from_numpy(quantise(wave.numpy()).samples) for wave in waves])


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_gives_valid_files_that_agree(name: str) -> None:
    experiment = load_experiment(name)
    network, info = stored_network(experiment, frames=24), model_info(experiment)
    log_mel = build_onnx(network, info, source="log_mel")
    features = log_mels(experiment, 6, 50, seed=9)
    assert_agreement(network, OnnxSession(log_mel).logits(features.numpy()), network(features).numpy(), steps=1)
    waveform = build_onnx(network, info, source="waveform")
    waves = noise(3, 44_100)
    expected = network(LogMel(experiment.front_end)(waves)).numpy()
    assert_agreement(network, OnnxSession(waveform).logits(waves.numpy()), expected, steps=2)


def test_the_compact_reference_with_its_labels_and_front_end_is_within_128_kib() -> None:
    experiment = load_experiment("qat_8b")
    network = stored_network(experiment, frames=24)
    labels = "airport bus metro metro_station park public_square shopping_mall street_pedestrian street_traffic tram"
    info = dataclasses.replace(model_info(experiment), labels=tuple(labels.split()))
    assert len(build_onnx(network, info, source="log_mel", compact=True)) <= 128 * 1024
    assert len(build_onnx(network, info, source="waveform", compact=True)) <= 132 * 1024
    assert len(build_onnx(network, info, source="log_mel")) <= 134 * 1024
    assert len(build_onnx(network, info, source="waveform")) <= 137 * 1024


def test_the_baseline_of_dcase_2024_takes_at_most_4000_bytes_beyond_its_numbers() -> None:
    experiment = load_experiment("cp_mobile_dcase2024")
    network = stored_network(experiment, frames=24)
    numbers = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    assert numbers == 119_612
    assert len(build_onnx(network, model_info(experiment), source="log_mel", compact=True)) <= numbers + 4_000


@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_a_single_block_and_a_depthwise_convolution_agree(storage: Storage) -> None:
    architecture = Architecture(
        widths=(6,),
        depths=(1,),
        se_bottlenecks=(1,),
        frequency_strides=(5,),
        time_strides=(3,),
        cardinality=6,
        classes=2,
    )
    experiment = dataclasses.replace(SMALL, architecture=architecture, compression=Compression(storage=storage))
    network = stored_network(experiment)
    features = log_mels(experiment, 20, 31, seed=2)
    for compact, functions in ((True, 1), (False, 0)):  # the function of a layer: no block repeats
        data = build_onnx(network, model_info(experiment), source="log_mel", compact=compact)
        assert len(onnx.load_from_string(data).functions) == functions
        assert_agreement(network, OnnxSession(data).logits(features.numpy()), network(features).numpy(), steps=1)


@pytest.mark.parametrize(("clips", "frames"), [(40, 60), (1, 1), (2, 7), (3, 301)])
def test_batch_and_time_may_vary(small: tuple[Experiment, StoredNet], clips: int, frames: int) -> None:
    experiment, network = small
    session = OnnxSession(build_onnx(network, model_info(experiment), source="log_mel"))
    features = log_mels(experiment, clips, frames, seed=5)
    assert_agreement(network, session.logits(features.numpy()), network(features).numpy(), steps=1)


@pytest.mark.parametrize(("clips", "samples"), [(20, 4000), (1, 801), (3, 8079)])
def test_waveform_files_give_the_logits_of_our_front_end(
    small: tuple[Experiment, StoredNet], clips: int, samples: int
) -> None:
    experiment, network = small
    session = OnnxSession(build_onnx(network, model_info(experiment), source="waveform"))
    waves = noise(clips, samples)
    expected = network(LogMel(experiment.front_end)(waves)).numpy()
    assert_agreement(network, session.logits(waves.numpy()), expected, steps=2)


def test_the_reference_evaluator_of_onnx_computes_the_same(small: tuple[Experiment, StoredNet]) -> None:
    experiment, network = small
    features, waves = log_mels(experiment, 3, 20, seed=6), noise(2, 1700)
    for source, x, expected in (
        ("log_mel", features, network(features)),
        ("waveform", waves, network(LogMel(experiment.front_end)(waves))),
    ):
        model = onnx.load_from_string(build_onnx(network, model_info(experiment), source=source))
        # The evaluator supports per-channel scales from opset 19.
        newer = version_converter.convert_version(inliner.inline_local_functions(model), 19)
        (logits,) = ReferenceEvaluator(newer).run(None, {source: x.numpy()})
        assert_agreement(network, logits, expected.numpy(), steps=1 if source == "log_mel" else 2)


@pytest.mark.parametrize("source", ["log_mel", "waveform"])
def test_a_compact_file_and_one_without_functions_give_the_same_logits(
    small: tuple[Experiment, StoredNet], source: Source
) -> None:
    experiment, network = small
    x = {"log_mel": log_mels(experiment, 5, 33, seed=7), "waveform": noise(2, 4000)}[source].numpy()
    files = [build_onnx(network, model_info(experiment), source=source, compact=compact) for compact in (True, False)]
    compact, flat = map(onnx.load_from_string, files)
    assert {node.domain for node in compact.graph.node} == {"", "asc"} and compact.functions
    assert {node.domain for node in flat.graph.node} == {""} and not flat.functions
    assert len(files[0]) < len(files[1])
    np.testing.assert_array_equal(OnnxSession(files[1]).logits(x), OnnxSession(files[0]).logits(x))


def test_without_functions_scales_and_zero_points_are_initialisers() -> None:
    model = onnx.load_from_string(build_onnx(stored_network(SMALL), model_info(SMALL), source="log_mel"))
    stored = {tensor.name for tensor in model.graph.initializer}
    products = {node.output[0] for node in model.graph.node if node.op_type == "Mul" and set(node.input) <= stored}
    assert all(all(node.input) for node in model.graph.node), "no input may be empty"
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            # The scale of a bias is that of the input times that of the weight.
            assert node.input[1] in stored | products and set(node.input[2:]) <= stored
    assert len(products) == 1 + 2 * 3 + 2 + 1, "one for each layer"


@pytest.mark.parametrize(("compact", "versions"), [(True, {"": 13, "asc": 1}), (False, {"": 13})])
@pytest.mark.parametrize("source", ["log_mel", "waveform"])
def test_a_file_has_the_right_versions_shapes_and_metadata(
    small: tuple[Experiment, StoredNet], source: Source, compact: bool, versions: dict[str, int]
) -> None:
    experiment, network = small
    info = model_info(experiment)
    data = build_onnx(network, info, source=source, compact=compact)
    assert data == build_onnx(network, info, source=source, compact=compact)
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.producer_name) == (8 if compact else 7, "asc")
    assert {opset.domain: opset.version for opset in model.opset_import} == versions
    assert not model.doc_string and not model.graph.value_info
    assert not any(node.name or node.doc_string for node in model.graph.node)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    shapes = {"log_mel": ["batch", 1, 20, "frames"], "waveform": ["batch", "samples"]}
    assert (given.name, given.type, given.shape) == (source, "tensor(float)", shapes[source])
    assert (answer.name, answer.type, answer.shape) == ("logits", "tensor(float)", ["batch", 6])
    said = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert tuple(said["labels"]) == info.labels
    assert FrontEnd(**said["front_end"]) == experiment.front_end


@pytest.mark.parametrize("compact", [True, False])
def test_onnxruntime_fuses_every_quantised_layer_and_addition(tmp_path: Path, compact: bool) -> None:
    network = stored_network(SMALL)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    data = build_onnx(network, model_info(SMALL), source="log_mel", compact=compact)
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    blocks = sum(SMALL.architecture.depths)
    assert operators["QLinearConv"] == 1 + 2 * blocks + (blocks - 1) + 1
    assert operators["QLinearAdd"] == blocks - 1
    # Still in float: SE, the statistics pooling, and the input.
    assert operators["QuantizeLinear"] == 1 + blocks + 1


def test_float16_weights_are_cast_when_the_file_is_loaded(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    data = build_onnx(stored_network(HALF), model_info(HALF), source="log_mel")
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    assert "Cast" not in {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}


def test_building_does_not_change_the_network(small: tuple[Experiment, StoredNet]) -> None:
    experiment, network = small
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    build_onnx(network, model_info(experiment), source="waveform")
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_another_shape_is_refused(small: tuple[Experiment, StoredNet]) -> None:
    experiment, network = small
    session = OnnxSession(build_onnx(network, model_info(experiment), source="log_mel"))
    with pytest.raises(Exception, match="invalid dimensions"):
        session.logits(np.zeros((1, 1, 19, 30), np.float32))


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("recipe", [None, "qat_8b"])
def test_a_session_with_default_options_is_right_on_every_processor(recipe: str | None, compact: bool) -> None:
    experiment = load_experiment(recipe) if recipe else SMALL
    network = stored_network(experiment, frames=24)
    features = log_mels(experiment, 10, 40, seed=8)
    data = build_onnx(network, model_info(experiment), source="log_mel", compact=compact)
    expected = network(features).numpy()
    (plain,) = onnxruntime.InferenceSession(data).run(None, {"log_mel": features.numpy()})
    assert_agreement(network, plain, expected, steps=1)
    exact = onnxruntime.SessionOptions()
    exact.add_session_config_entry("session.x64quantprecision", "1")
    (found,) = onnxruntime.InferenceSession(data, exact).run(None, {"log_mel": features.numpy()})
    np.testing.assert_array_equal(plain, found, "the option must make no difference")


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ESC-10 beside the checkout")
def test_real_clips_agree_end_to_end() -> None:
    front_end = FrontEnd(mel_bands=40)
    experiment = dataclasses.replace(SMALL, front_end=front_end)
    network = stored_network(experiment)
    assert isinstance(network, IntegerNet)
    session = OnnxSession(build_onnx(network, model_info(experiment), source="waveform"))
    found, expected = [], []
    for path in sorted(REAL.rglob("*.ogg"))[::16]:
        wave, rate_hz = soundfile.read(path, dtype="float32")
        assert rate_hz == front_end.sample_rate_hz
        found.append(session.logits(wave[None])[0])
        expected.append(network(LogMel(front_end)(torch.from_numpy(quantise(wave).samples[None]))).numpy()[0])
    assert len(found) == 25
    assert_agreement(network, np.array(found), np.array(expected), steps=2)
