import pytest
import torch

from asc.config.experiment import Experiment
from asc.models.build import build_network
from asc.models.conversion import to_integer, to_stored
from asc.models.float16 import HalfNet
from asc.models.integer import IntegerNet
from asc.models.stored import empty


@pytest.mark.parametrize(("storage", "form"), [("int8", IntegerNet), ("float16", HalfNet)])
def test_the_storage_decides_the_form(tiny_experiment: Experiment, storage: str, form: type) -> None:
    experiment = tiny_experiment.updated({"compression.storage": storage})
    network = build_network(experiment.architecture, experiment.front_end, seed=0, storage=storage)
    network.train()(torch.randn(2, 1, experiment.front_end.mel_bands, 20))
    stored = to_stored(network.eval())
    assert type(stored) is type(empty(experiment)) is form
    assert stored.state_dict().keys() == empty(experiment).state_dict().keys()


def test_a_float_network_has_no_integer_form(tiny_experiment: Experiment) -> None:
    network = build_network(tiny_experiment.architecture, tiny_experiment.front_end, seed=0, storage="float16")
    with pytest.raises(ValueError, match="float16"):
        to_integer(network)


@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_part_of_a_map_with_the_whole_means_equals_the_whole_map(tiny_experiment: Experiment, storage: str) -> None:
    experiment = tiny_experiment.updated({"compression.storage": storage})
    network = build_network(experiment.architecture, experiment.front_end, seed=0, storage=storage).train()
    log_mel = torch.randn(1, 1, experiment.front_end.mel_bands, 120, generator=torch.Generator().manual_seed(0)) * 3
    network(log_mel.expand(2, -1, -1, -1))
    stored = to_stored(network)
    means: list[torch.Tensor] = []
    gates = [gate.name for gate in stored.topology.gates]
    whole = stored.last_map(log_mel, dict.fromkeys(gates, lambda x: means.append(x.mean(dim=(2, 3))) or means[-1]))
    assert torch.equal(whole, stored.last_map(log_mel))
    assert torch.equal(stored.head(stored.pool(whole)), stored(log_mel))
    part = log_mel[..., :80]
    given = stored.last_map(part, {gate: lambda x, mean=mean: mean for gate, mean in zip(gates, means, strict=True)})
    torch.testing.assert_close(given[..., :30], whole[..., :30])
    far = {gate: lambda x, mean=mean: 50 - 50 * mean for gate, mean in zip(gates, means, strict=True)}
    others = stored.last_map(part, far)
    assert not torch.allclose(others[..., :30], whole[..., :30])
