"""Activation memory of small networks and the reference, counted by hand."""

from dataclasses import replace

import pytest

from asc.config.architecture import Architecture
from asc.config.experiment import Compression, Experiment
from asc.config.front_end import FrontEnd
from asc.config.recipes.loading import load_experiment
from asc.errors import InputError
from asc.size.activations import Tensor, activation_steps, peak_bytes
from asc.size.law import cost

REFERENCE = load_experiment("qat_8b")


def test_float16_networks_take_four_bytes_per_activation():
    architecture = Architecture(
        widths=(4,), depths=(1,), se_bottlenecks=(2,), frequency_strides=(2,), time_strides=(1,), classes=3
    )
    steps = activation_steps(
        Experiment(
            architecture=architecture, front_end=FrontEnd(mel_bands=8), compression=Compression(storage="float16")
        ),
        seconds=0.05,
    )
    # log-mel 8 x 5 = 40; stem 4 x 8 x 5 = 160; block 4 x 4 x 5 = 80; statistics 4 x 4 x 2 = 32.
    assert {step.name: step.live_bytes for step in steps} == {
        "stem": 4 * (40 + 160),
        "blocks.0.conv1": 4 * (160 + 80),
        "blocks.0.conv2": 4 * (80 + 80),
        "blocks.0.se.pool": 4 * (80 + 4),
        "blocks.0.se.reduce": 4 * (80 + 4 + 2),
        "blocks.0.se.relu": 4 * (80 + 2 + 2),
        "blocks.0.se.norm": 4 * (80 + 2 + 2),
        "blocks.0.se.expand": 4 * (80 + 2 + 4),
        "blocks.0.se.sigmoid": 4 * (80 + 4 + 4),
        "blocks.0.se.scale": 4 * (80 + 4 + 80),
        "pool": 4 * (80 + 32),
        "dense": 4 * (32 + 3),
    }


def test_peak_of_the_reference_is_at_the_first_squeeze_and_excitation():
    steps = activation_steps(REFERENCE)
    peak = max(steps, key=lambda step: step.live_bytes)
    assert peak.name == "blocks.0.se.scale"
    assert peak.live_bytes == 24 * 64 * 500 * 4 + 24 * 4 + 24 * 64 * 500 * 4
    assert cost(REFERENCE).peak_activation_bytes == peak.live_bytes


def test_activation_steps_of_a_network_counted_by_hand():
    architecture = Architecture(
        widths=(4, 8), depths=(1, 1), se_bottlenecks=(2, 3), frequency_strides=(2, 1), time_strides=(1, 2), classes=3
    )
    steps = activation_steps(
        Experiment(architecture=architecture, front_end=FrontEnd(mel_bands=8, hop_s=0.01)), seconds=0.05
    )
    # log-mel 8 x 5 = 40; stem 4 x 8 x 5 = 160; block 0: 4 x 4 x 5 = 80; block 1: 8 x 4 x 3 = 96; statistics 8 x 4 x 2.
    assert {step.name: step.live_bytes for step in steps} == {
        "input": 40 * 4 + 40,
        "stem": 40 + 160,
        "blocks.0.conv1": 160 + 80,
        "blocks.0.conv2": 80 + 80,
        "blocks.0.se.dequantise": 80 + 320,
        "blocks.0.se.pool": 320 + 16,
        "blocks.0.se.reduce": 320 + 16 + 8,
        "blocks.0.se.relu": 320 + 8 + 8,
        "blocks.0.se.norm": 320 + 8 + 8,
        "blocks.0.se.expand": 320 + 8 + 16,
        "blocks.0.se.sigmoid": 320 + 16 + 16,
        "blocks.0.se.scale": 320 + 16 + 320,
        "blocks.0.se_output": 320 + 80,
        "blocks.1.conv1": 80 + 96,
        "blocks.1.conv2": 80 + 96 + 96,
        "blocks.1.se.dequantise": 80 + 96 + 384,
        "blocks.1.se.pool": 80 + 384 + 32,
        "blocks.1.se.reduce": 80 + 384 + 32 + 12,
        "blocks.1.se.relu": 80 + 384 + 12 + 12,
        "blocks.1.se.norm": 80 + 384 + 12 + 12,
        "blocks.1.se.expand": 80 + 384 + 12 + 32,
        "blocks.1.se.sigmoid": 80 + 384 + 32 + 32,
        "blocks.1.se.scale": 80 + 384 + 32 + 384,
        "blocks.1.se_output": 80 + 384 + 96,
        "blocks.1.skip": 80 + 96 + 96,
        "blocks.1.add": 96 + 96 + 96,
        "pool.dequantise": 96 + 384,
        "pool": 384 + 256,
        "pool_output": 256 + 64,
        "dense": 64 + 3,
        "logits": 3 + 12,
    }


def test_each_step_lists_its_live_tensors_and_their_lifetimes():
    architecture = Architecture(
        widths=(4,), depths=(2,), se_bottlenecks=(2,), frequency_strides=(2, 1), time_strides=(1, 1), classes=3
    )
    steps = activation_steps(Experiment(architecture=architecture, front_end=FrontEnd(mel_bands=8)), seconds=0.05)
    names = [step.name for step in steps]
    live = {step.name: {tensor.name for tensor in step.live} for step in steps}
    # The second block's input stays live until its skip has read it.
    assert live["blocks.1.conv2"] == {"blocks.0.se_output", "blocks.1.conv1", "blocks.1.conv2"}
    assert live["blocks.1.se.scale"] == {
        "blocks.0.se_output",
        *(f"blocks.1.se.{n}" for n in "dequantise sigmoid scale".split()),
    }
    assert live["blocks.1.add"] == {"blocks.1.se_output", "blocks.1.skip", "blocks.1.add"}
    tensors = {tensor.name: tensor for step in steps for tensor in step.live}
    assert list(tensors) == ["log_mel", *names]
    assert tensors["log_mel"] == Tensor("log_mel", (1, 8, 5), 4, 0, 0)
    first, last = names.index("blocks.0.se_output"), names.index("blocks.1.skip")
    assert tensors["blocks.0.se_output"] == Tensor("blocks.0.se_output", (4, 4, 5), 1, first, last)
    assert tensors["logits"] == Tensor("logits", (3,), 4, len(names) - 1, len(names) - 1)
    for number, step in enumerate(steps):
        assert {t.name for t in step.live} == {t.name for t in tensors.values() if t.first <= number <= t.last}


@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_the_fast_peak_equals_the_peak_over_all_steps(storage):
    for seconds in (0.013, 1.0, 10.0):
        experiment = replace(REFERENCE, compression=Compression(storage=storage))
        steps = activation_steps(experiment, seconds=seconds)
        assert peak_bytes(experiment, seconds=seconds) == max(step.live_bytes for step in steps)


def test_peak_activation_grows_with_clip_length():
    architecture, front_end = REFERENCE.architecture, REFERENCE.front_end
    ten = cost(Experiment(architecture=architecture, front_end=front_end), seconds=10.0).peak_activation_bytes
    assert cost(Experiment(architecture=architecture, front_end=front_end)).peak_activation_bytes == ten
    assert cost(Experiment(architecture=architecture, front_end=front_end), seconds=1.0).peak_activation_bytes < ten / 9


def test_a_clip_without_a_frame_is_refused():
    with pytest.raises(InputError, match="too short"):
        cost(REFERENCE, seconds=0.001)
