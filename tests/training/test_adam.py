"""Our Adam against torch's own, and what a training process imports."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from asc.training.adam import Adam

SHAPES = ((8, 4, 3, 3), (8,), (4, 8), (1,))
FUSED = partial(torch.optim.Adam, fused=True)
Optimiser = Callable[[list[nn.Parameter]], torch.optim.Adam]


def weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def train(optimizer: torch.optim.Adam, parameters: list[nn.Parameter], *, steps: range) -> None:
    """Take steps with gradients and a learning rate that are a function of the step; the last weight has none at 0."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        optimizer.zero_grad(set_to_none=True)
        for parameter in parameters[: -1 if step == 0 else None]:
            parameter.grad = torch.randn(parameter.shape, generator=generator) * 10.0 ** (step % 5 - 3)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 / (1 + step)
        optimizer.step()


def tensors(optimizer: torch.optim.Adam) -> list[Tensor]:
    return [tensor for state in optimizer.state_dict()["state"].values() for tensor in state.values()]


@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_weights_and_state_are_torchs_to_the_last_bit(decay: float) -> None:
    ours, theirs = weights(), weights()
    our, their = Adam(ours, weight_decay=decay), torch.optim.Adam(theirs, weight_decay=decay, fused=True)
    for optimizer, parameters in ((our, ours), (their, theirs)):
        train(optimizer, parameters, steps=range(20))
    assert all(map(torch.equal, ours, theirs)) and not any(map(torch.equal, ours, weights()))
    assert len(tensors(our)) == 3 * len(SHAPES) and all(map(torch.equal, tensors(our), tensors(their)))
    assert our.state_dict()["param_groups"] == their.state_dict()["param_groups"]


@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_torchs_default_differs_by_rounding_alone(decay: float) -> None:
    ours, theirs = weights(), weights()
    train(Adam(ours, weight_decay=decay), ours, steps=range(20))
    train(torch.optim.Adam(theirs, weight_decay=decay), theirs, steps=range(20))
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("first", "second"), [(Adam, FUSED), (FUSED, Adam)])
def test_either_goes_on_from_the_state_of_the_other(first: Optimiser, second: Optimiser) -> None:
    whole, parted = weights(), weights()
    train(Adam(whole), whole, steps=range(10))
    before = first(parted)
    train(before, parted, steps=range(5))
    after = second(parted)
    after.load_state_dict(before.state_dict())
    train(after, parted, steps=range(5, 10))
    assert all(map(torch.equal, whole, parted))


def test_moments_in_another_order_than_their_weights_are_taken_for_what_they_are() -> None:
    """Those of a checkpoint are contiguous, weights are channels_last."""
    whole, parted = ([nn.Parameter(weights()[0].contiguous(memory_format=torch.channels_last))] for _ in range(2))
    train(Adam(whole), whole, steps=range(1, 10))
    before, after = Adam(parted), Adam(parted)
    train(before, parted, steps=range(1, 5))
    state = before.state_dict()
    plain = {name: tensor.contiguous() for name, tensor in state["state"][0].items()}
    after.load_state_dict({**state, "state": {0: plain}})
    train(after, parted, steps=range(5, 10))
    assert torch.equal(*whole, *parted)


def test_a_step_is_counted_as_a_write() -> None:
    """`asc.models.remembered` computes again what was written to."""
    parameters = weights()
    before = [parameter._version for parameter in parameters]
    train(Adam(parameters), parameters, steps=range(1, 2))
    assert all(parameter._version > version for parameter, version in zip(parameters, before, strict=True))


def test_a_gradient_in_another_order_than_its_weight_is_taken_for_what_it_is() -> None:
    results = []
    for layout in (torch.channels_last, torch.contiguous_format):
        weight = nn.Parameter(weights()[0].detach().contiguous(memory_format=torch.channels_last))
        weight.grad = weight.detach().square().contiguous(memory_format=layout)
        Adam([weight]).step()
        results.append(weight.detach())
    assert torch.equal(*results) and not torch.equal(results[0], weights()[0])


def test_a_step_leaves_no_graph_behind() -> None:
    parameters = weights()
    train(Adam(parameters, weight_decay=1e-2), parameters, steps=range(2))
    assert all(parameter.requires_grad and parameter.grad_fn is None for parameter in parameters)
    assert torch.is_grad_enabled()


def test_torchs_compiler_is_not_imported() -> None:
    """It would take every process of a search more than a second."""
    script = """
import sys, torch
from asc.config.experiment import Schedule
from asc.training.adam import Adam
from asc.training.learning_rate import cyclic
weight = torch.nn.Parameter(torch.ones(3))
optimizer = Adam([weight])
scheduler = cyclic(optimizer, Schedule(), 5)
optimizer.zero_grad(set_to_none=True)
weight.sum().backward()
optimizer.step()
scheduler.step()
optimizer.load_state_dict(optimizer.state_dict())
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
