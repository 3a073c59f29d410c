"""The network: its cost equals the size law, freezing lasts, its state dict is complete."""

import copy
import dataclasses
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from asc.config.architecture import Architecture
from asc.config.experiment import Experiment
from asc.config.front_end import FrontEnd
from asc.errors import InputError
from asc.models.build import build_network
from asc.models.conversion import to_integer
from asc.models.integer import IntegerNet
from asc.size.law import cost, macs
from asc.size.stored_items import stored_items
from asc.topology.describe import describe

SMALL = Architecture(
    widths=(8, 12), depths=(1, 2), se_bottlenecks=(2, 3), frequency_strides=(2, 2, 1), time_strides=(2, 1, 2), classes=5
)
FRONT_END = FrontEnd(mel_bands=24)


@st.composite
def architectures(draw):
    stages = draw(st.integers(1, 3))
    depths = tuple(draw(st.integers(1, 3)) for _ in range(stages))
    cardinality = draw(st.integers(1, 4))
    strides = st.tuples(*[st.integers(1, 3)] * sum(depths))
    return Architecture(
        widths=tuple(cardinality * draw(st.integers(1, 5)) for _ in range(stages)),
        depths=depths,
        se_bottlenecks=tuple(draw(st.integers(1, 9)) for _ in range(stages)),
        frequency_strides=draw(strides),
        time_strides=draw(strides),
        cardinality=cardinality,
        classes=draw(st.integers(2, 12)),
    )


def features(batch=4, frames=40, seed=0, bands=24):
    return torch.randn(batch, 1, bands, frames, generator=torch.Generator().manual_seed(seed))


def trained(steps=3, architecture=SMALL):
    network = build_network(architecture, FRONT_END, seed=1).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    go_on(network, optimizer, range(steps))
    return network, optimizer


def go_on(network, optimizer, steps):
    for step in steps:
        loss = network(features(seed=step)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(architecture=architectures(), bands=st.integers(8, 40))
def test_a_converted_network_stores_exactly_the_predicted_items(architecture, bands):
    front_end = FrontEnd(mel_bands=bands)
    network = build_network(architecture, front_end, seed=0).train()
    network(features(batch=2, frames=9, bands=bands))
    built = {name: (value.numel(), value.element_size()) for name, value in to_integer(network).state_dict().items()}
    items = stored_items(Experiment(architecture=architecture, front_end=front_end))
    assert built == {item.name: (item.count, item.bytes_each) for item in items}
    assert list(built) == [item.name for item in items]
    assert (
        sum(count * size for count, size in built.values())
        == cost(Experiment(architecture=architecture, front_end=front_end)).stored.size_bytes
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(architecture=architectures(), bands=st.integers(8, 200))
def test_an_integer_form_built_from_its_config_has_exactly_the_predicted_items(architecture, bands):
    front_end = FrontEnd(mel_bands=bands)
    with torch.device("meta"):
        built = IntegerNet(describe(architecture, front_end.mel_bands), front_end).state_dict()
    predicted = {
        item.name: (item.count, item.bytes_each)
        for item in stored_items(Experiment(architecture=architecture, front_end=front_end))
    }
    assert {name: (value.numel(), value.element_size()) for name, value in built.items()} == predicted


@settings(max_examples=25, deadline=None, derandomize=True)
@given(architecture=architectures(), bands=st.integers(8, 40), hundredths=st.integers(3, 60))
def test_macs_equal_torchs_count_of_operations(architecture, bands, hundredths):
    front_end = FrontEnd(mel_bands=bands)
    network = build_network(architecture, front_end, seed=0, storage="float16").train()
    seconds = hundredths / 100  # of a float network, because torch does not count products of integers
    with FlopCounterMode(display=False) as counter:
        network(features(batch=2, frames=front_end.frames(seconds), bands=bands))
    # Two operations per multiply-accumulate, two clips.
    assert counter.get_total_flops() == 4 * macs(
        Experiment(architecture=architecture, front_end=front_end), seconds=seconds
    )


def test_macs_of_the_reference_equal_torchs_count():
    architecture, front_end = Architecture(), FrontEnd()
    network = build_network(architecture, front_end, seed=0, storage="float16").train()
    with FlopCounterMode(display=False) as counter:
        network(features(batch=2, frames=100, bands=128))
    assert (
        counter.get_total_flops()
        == 4 * cost(Experiment(architecture=architecture, front_end=front_end)).macs_per_second
    )


def test_any_length_gives_logits_and_any_other_shape_is_refused():
    network, _ = trained()
    assert network.eval()(features(batch=3, frames=1)).shape == (3, 5)
    assert network(features(batch=1, frames=131)).shape == (1, 5)
    for wrong in (
        torch.zeros(2, 24, 40),
        torch.zeros(2, 2, 24, 40),
        torch.zeros(2, 1, 25, 40),
        torch.zeros(2, 1, 24, 0),
    ):
        with pytest.raises(InputError, match=r"\(batch, 1, 24, frames\)"):
            network(wrong)


def test_every_weight_gets_a_gradient():
    # The bottlenecks are wide, because with two nodes a ReLU may be off for every clip.
    network, _ = trained(steps=1, architecture=dataclasses.replace(SMALL, se_bottlenecks=(16, 16)))
    network(features()).square().mean().backward()
    assert [name for name, weight in network.named_parameters() if not bool(weight.grad.abs().sum() > 0)] == []


def test_frozen_batch_norm_stays_frozen_through_train_and_eval():
    network, optimizer = trained()
    network.freeze_batch_norm()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    assert len(norms) == 1 + 3 * 3
    network.eval()
    network.train()
    go_on(network, optimizer, range(10, 13))
    for norm, (mean, variance) in zip(norms, before, strict=True):
        assert torch.equal(norm.running_mean, mean) and torch.equal(norm.running_var, variance)
    assert network.training and network.stem.training


def test_the_two_freezes_are_separate_switches():
    network, optimizer = trained()
    network.freeze_observers()
    ranges = {name: value.clone() for name, value in network.state_dict().items() if name.endswith((".low", ".high"))}
    mean = network.stem.norm.running_mean.clone()
    go_on(network, optimizer, range(20, 22))
    assert all(torch.equal(network.state_dict()[name], value) for name, value in ranges.items())
    assert not torch.equal(network.stem.norm.running_mean, mean)

    other, optimizer = trained()
    other.freeze_batch_norm()
    high = other.stem.output.high.clone()
    go_on(other, optimizer, range(20, 22))
    assert not torch.equal(other.stem.output.high, high)


def test_a_network_without_a_batch_cannot_be_evaluated_frozen_or_converted():
    network = build_network(SMALL, FRONT_END, seed=0).eval()
    for use in (lambda: network(features()), network.freeze_observers, lambda: to_integer(network)):
        with pytest.raises(RuntimeError, match="seen no batch"):
            use()


def test_an_untrained_state_loaded_over_a_trained_one_is_refused():
    network, _ = trained()
    network.eval()(features())
    network.load_state_dict(build_network(SMALL, FRONT_END, seed=0).state_dict())
    with pytest.raises(RuntimeError, match="seen no batch"):
        network(features())


@pytest.mark.parametrize("frozen", [False, True])
def test_training_resumes_bit_identically_from_a_state_dict(frozen):
    network, optimizer = trained()
    if frozen:
        network.freeze_batch_norm()
        network.freeze_observers()
        go_on(network, optimizer, range(3, 4))
    state = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    moments = copy.deepcopy(optimizer.state_dict())
    go_on(network, optimizer, range(4, 7))

    resumed = build_network(SMALL, FRONT_END, seed=99).train()
    resumed.load_state_dict(state)
    again = torch.optim.Adam(resumed.parameters(), lr=1e-3)
    again.load_state_dict(moments)
    go_on(resumed, again, range(4, 7))
    for name, value in network.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert torch.equal(network.eval()(features(seed=50)), resumed.eval()(features(seed=50)))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies_are_complete_and_independent(copied):
    network, _ = trained()
    network.freeze_batch_norm()
    twin = copied(network)
    assert torch.equal(network.eval()(features()), twin.eval()(features()))
    twin.train()
    assert not twin.stem.norm.training
    twin.load_state_dict(build_network(SMALL, FRONT_END, seed=0).train().state_dict())
    assert twin.stem.norm.training and not network.stem.norm.training
