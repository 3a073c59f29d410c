"""The float32 graph of a 16-bit network, compared with the network on real clips."""

import pytest
import torch
from tiny_networks import FAMILIES, trained

from asc.audio.frontend import LogMel
from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.export.float32 import Float32Net
from asc.export.float_parts import CONVERTERS, Converter
from asc.models.float16 import HalfNet


@pytest.fixture(scope="module")
def network(tiny_experiment: Experiment, tiny_dataset: Dataset) -> HalfNet:
    half = trained(tiny_experiment, tiny_dataset, storage="float16")
    assert isinstance(half, HalfNet)
    return half


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("converter", CONVERTERS)
def test_it_agrees_with_the_network_to_rounding(
    tiny_experiment: Experiment, tiny_dataset: Dataset, converter: Converter, family: str
) -> None:
    network = trained(tiny_experiment.updated(FAMILIES[family]), tiny_dataset, storage="float16")
    assert isinstance(network, HalfNet)
    module, log_mel = Float32Net(network, converter=converter), LogMel(network.front_end)
    clips = [log_mel(torch.from_numpy(tiny_dataset.waveform(int(i)))[None]) for i in tiny_dataset.indices("valid")]
    with torch.no_grad():
        found = torch.cat([module(clip) for clip in clips])
    stored = torch.cat([network(clip) for clip in clips])
    assert stored.std() > 0.1, "the logits must vary"
    torch.testing.assert_close(found, stored, rtol=0, atol=1e-5 * float(stored.abs().max()))


def test_its_weights_are_the_stored_float16_values(network: HalfNet) -> None:
    held = Float32Net(network, converter="litert").state_dict()
    stored = network.state_dict()
    same = [name for name in stored if name in held]
    assert {name.rsplit(".", 1)[-1] for name in stored.keys() - set(same)} == {
        "weight",
        "bias",
        "running_mean",
        "running_var",
    }, "only the norms of SE become a factor and an offset"
    assert all(".norm." in name for name in stored.keys() - set(same))
    for name in same:
        assert held[name].dtype == torch.float32 and torch.equal(held[name].half(), stored[name])
        assert torch.equal(held[name], stored[name].float())


def test_an_export_is_not_tied_to_a_length(network: HalfNet) -> None:
    frames = torch.export.Dim("frames", min=8, max=64)
    example = torch.zeros(1, 1, 16, 64)
    exported = torch.export.export(
        Float32Net(network, converter="executorch"), (example,), dynamic_shapes=({3: frames},)
    ).module()
    for length in (8, 9, 23, 64):
        log_mel = torch.randn(1, 1, 16, length, generator=torch.Generator().manual_seed(length)) * 3
        torch.testing.assert_close(exported(log_mel), network(log_mel), rtol=0, atol=1e-4)
