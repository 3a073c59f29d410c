"""Whole networks on every fast path that this machine has, against the same networks on torch's operations alone."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from asc.audio import compiled
from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.models import fused, grid_convolution
from asc.models.build import build_network
from asc.models.conversion import to_integer
from asc.models.network import Network

RECIPES = ["qat_8b", "cp_mobile_dcase2024", "bc_resnet_asc"]
CLIPS = 8
TARGETS = torch.arange(CLIPS) % 4


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Switches to torch's operations alone at the call of `setattr`, and back after the test."""
    yield monkeypatch
    monkeypatch.undo()
    forget()


def forget() -> None:
    compiled.library.cache_clear()
    fused.kernels.cache_clear()


def switch_off(plain: pytest.MonkeyPatch) -> None:
    plain.setattr(compiled.shutil, "which", lambda name: None)
    forget()
    assert fused.kernels() is None


def features(experiment: Experiment, seed: int) -> Tensor:
    bands, generator = experiment.front_end.mel_bands, torch.Generator().manual_seed(seed)
    spectra = torch.randn(4, 1, bands, 1, generator=torch.Generator().manual_seed(7))
    return spectra[TARGETS] + torch.randn(CLIPS, 1, bands, 100, generator=generator)


def trained(experiment: Experiment, *, frozen: bool) -> Network:
    """A network after ten steps, in training mode."""
    network = build_network(experiment.architecture, experiment.front_end, seed=0, storage="int8").train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for step in range(10):
        optimizer.zero_grad()
        functional.cross_entropy(network(features(experiment, step)), TARGETS).backward()
        optimizer.step()
    if frozen:
        network.freeze_batch_norm()
        network.freeze_observers()
    return network


def step(network: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of a training step, in steps of the last grid, and the gradient of all parameters, (parameters,)."""
    network = copy.deepcopy(network)
    logits = network(x)
    functional.cross_entropy(logits, TARGETS).backward()
    gradients = [torch.zeros(one.numel()) if one.grad is None else one.grad.flatten() for one in network.parameters()]
    return logits.detach() / network.classifier.output.scale, torch.cat(gradients)


def apart(one: Tensor, other: Tensor) -> float:
    """The length of the difference, in lengths of the other."""
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_with_frozen_statistics_is_the_same_within_rounding(
    recipe: str, bfloat16: bool, plain: pytest.MonkeyPatch
) -> None:
    """A value near a tie may be rounded either way, so logits are a step apart, and gradients 1 %."""
    experiment = load_experiment(recipe)
    network, x = trained(experiment, frozen=True), features(experiment, 10)
    plain.setattr(grid_convolution, "has_bfloat16", lambda: bfloat16)
    logits, gradient = step(network, x)
    switch_off(plain)
    plain_logits, plain_gradient = step(network, x)
    assert float((logits - plain_logits).abs().max()) < 1.5
    assert apart(gradient, plain_gradient) < 0.015


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_step_differs_as_little_as_after_a_millionth_of_noise(
    recipe: str, plain: pytest.MonkeyPatch
) -> None:
    """Batch norm over a few clips makes rounding errors large, whatever computes it."""
    experiment = load_experiment(recipe)
    network, x = trained(experiment, frozen=False), features(experiment, 10)
    _, gradient = step(network, x)
    switch_off(plain)
    _, plain_gradient = step(network, x)
    noisy = [
        step(network, x + 1e-6 * torch.randn(x.shape, generator=torch.Generator().manual_seed(n)))[1] for n in (1, 2)
    ]
    assert apart(gradient, plain_gradient) < 2 * max(apart(one, plain_gradient) for one in noisy)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_integer_form_is_the_same_bit_for_bit(recipe: str, plain: pytest.MonkeyPatch) -> None:
    experiment = load_experiment(recipe)
    network, x = trained(experiment, frozen=True).eval(), features(experiment, 10)
    integer = to_integer(network)
    found, evaluated = integer(x), network(x).detach()
    switch_off(plain)
    assert torch.equal(found, to_integer(network)(x))
    steps = (evaluated - network(x).detach()) / network.classifier.output.scale
    assert float(steps.abs().max()) < 1.5
