"""The plain torch module that converters get, compared with the integer network on real clips."""

from collections import Counter

import pytest
import torch
from tiny_networks import trained

from asc.audio.frontend import LogMel
from asc.config.architecture import Architecture
from asc.config.experiment import Experiment
from asc.config.front_end import FrontEnd
from asc.data.dataset import Dataset
from asc.export.decomposed import DecomposedNet
from asc.export.float_parts import Converter
from asc.models.build import build_network
from asc.models.conversion import to_integer
from asc.models.integer import IntegerNet


@pytest.fixture(scope="module")
def network(tiny_experiment: Experiment, tiny_dataset: Dataset) -> IntegerNet:
    integer = trained(tiny_experiment, tiny_dataset, storage="int8")
    assert isinstance(integer, IntegerNet)
    return integer


@pytest.mark.parametrize("converter", ["executorch", "litert"])
def test_it_agrees_with_the_integer_network_within_one_step(
    network: IntegerNet, tiny_dataset: Dataset, converter: Converter
) -> None:
    module, log_mel = DecomposedNet(network, converter=converter), LogMel(network.front_end)
    clips = [log_mel(torch.from_numpy(tiny_dataset.waveform(int(i)))[None]) for i in tiny_dataset.indices("valid")]
    with torch.no_grad():
        found = torch.cat([module(clip) for clip in clips])
    stored = torch.cat([network(clip) for clip in clips])
    steps = ((found - stored) / network.dense.output.scale).abs()
    assert float(steps.max()) < 1.01 and float((steps > 0.5).float().mean()) < 0.1
    assert len(stored.unique()) > 4, "the logits must vary"


def test_the_reference_network_agrees() -> None:
    built = build_network(Architecture(), FrontEnd(), seed=0).train()
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        built(torch.randn(2, 1, 128, 60, generator=generator) * 3)
    network = to_integer(built)
    log_mel = torch.randn(2, 1, 128, 50, generator=generator) * 3
    with torch.no_grad():
        found = DecomposedNet(network, converter="executorch")(log_mel)
    assert float(((found - network(log_mel)) / network.dense.output.scale).abs().max()) < 1.01


def test_int8_weights_equal_the_stored_ones(network: IntegerNet) -> None:
    module = DecomposedNet(network, converter="executorch")
    held = {name: value for name, value in module.state_dict().items() if value.dtype == torch.int8}
    stored = {name: value for name, value in network.state_dict().items() if value.dtype == torch.int8}
    assert held.keys() == stored.keys()
    assert all(torch.equal(held[name], stored[name]) for name in stored)


def test_each_user_of_a_tensor_has_its_own_dequantisation(network: IntegerNet) -> None:
    exported = torch.export.export(DecomposedNet(network, converter="litert"), (torch.zeros(1, 1, 16, 40),))
    users = Counter(len(node.users) for node in exported.graph.nodes if "dequantize_per_tensor" in str(node.target))
    assert set(users) == {1} and users[1] > 10
