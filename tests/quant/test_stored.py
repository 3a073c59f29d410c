import pytest
import torch

from asc.config import Experiment
from asc.models.build import build_network
from asc.quant.half import HalfNet
from asc.quant.integer import IntegerNet, to_integer
from asc.quant.stored import empty, to_stored


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
