"""Batch norm and grid in one function against torch's batch norm, fake quantisation and autograd."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import asc.models.norm_on_grid
from asc.models.activation_grid import ActivationQuantiser
from asc.models.batch_norm import BatchNorm2d
from asc.models.fused import kernels
from asc.models.norm_on_grid import norm_on_grid

SHAPES = [(16, 24, 33, 50), (3, 5, 7, 9), (2, 600, 3, 4), (4, 1, 8, 8), (5, 48, 1, 1)]


def map_of(shape: tuple[int, ...], seed: int, layout: torch.memory_format = torch.channels_last) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).contiguous(memory_format=layout)


def norm_of(channels: int) -> BatchNorm2d:
    norm = BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.copy_(map_of((channels, 1, 1, 1), 1).flatten() + 0.3)  # some are negative
        norm.bias.copy_(map_of((channels, 1, 1, 1), 2).flatten())
    return norm


def by_torch(x: Tensor, norm: BatchNorm2d, output: ActivationQuantiser) -> Tensor:
    y = functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=True)
    seen = torch.relu(y.detach()) if output.nonnegative else y.detach()
    output.follow(seen.amin().clamp(max=0), seen.amax())
    return torch.fake_quantize_per_tensor_affine(y, output.scale, output.zero_point, 0, 255)


def clear(x: Tensor, norm: BatchNorm2d, output: ActivationQuantiser, *, margin: float) -> Tensor:
    """1 for values that no rounding error carries over an end of the grid, else 0; `margin` is in steps."""
    output = copy.deepcopy(output)
    by_torch(x * 0.9, copy.deepcopy(norm), output)
    by_torch(x, copy.deepcopy(norm), output)
    y = functional.batch_norm(x.double(), None, None, norm.weight.double(), norm.bias.double(), training=True)
    steps = y / output.scale + output.zero_point
    return (((steps + 0.5).abs() > margin) & ((steps - 255.5).abs() > margin)).float()


def results(function, x: Tensor, norm: BatchNorm2d, output: ActivationQuantiser, gradient: Tensor) -> dict[str, Tensor]:
    """Two steps, so that running values are updated too, on copies of everything; the results of the second."""
    norm, output = copy.deepcopy(norm), copy.deepcopy(output)
    for batch in (x * 0.9, x):
        batch = batch.requires_grad_() if batch.is_leaf else batch.detach().requires_grad_()
        y = function(batch, norm, output)
        norm.zero_grad()
        y.backward(gradient)
    assert batch.grad is not None and norm.weight.grad is not None and norm.bias.grad is not None
    gradients = {"x gradient": batch.grad, "weight gradient": norm.weight.grad, "bias gradient": norm.bias.grad}
    running = {"mean": norm.running_mean, "variance": norm.running_var, "scale": output.scale, "low": output.low}
    return {"y": y.detach(), **gradients, **running}


@pytest.mark.parametrize("nonnegative", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_values_and_gradients_equal_torchs(shape: tuple[int, ...], nonnegative: bool, offset: float) -> None:
    """Values within rounding error of a tie may go either way; those near an end of the grid get no gradient here."""
    x, norm, output = map_of(shape, 0) + offset, norm_of(shape[1]), ActivationQuantiser(nonnegative=nonnegative)
    lost = 1e-5 if offset == 0 else 1e-3  # of the digits of a value that offset takes some
    gradient = map_of(shape, 3) * clear(x, norm, output, margin=100 * lost).detach()
    assert float((gradient != 0).float().mean()) > 0.95
    ours = results(norm_on_grid, x.clone(), norm, output, gradient)
    theirs = results(by_torch, x.clone(), norm, output, gradient)
    steps = (ours.pop("y") - theirs.pop("y")).abs() / theirs["scale"]
    assert float(steps.max()) < 1.5 and float((steps > 0.5).float().mean()) < 100 * lost
    for name, value in ours.items():
        size = float(theirs[name].abs().max())
        torch.testing.assert_close(value, theirs[name], rtol=lost, atol=lost * size, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("why", ["no compiler", "layout", "float64"])
def test_where_the_loops_cannot_be_had_the_two_layers_do_the_same(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    norm, output = norm_of(6), ActivationQuantiser(nonnegative=True)
    x = map_of((8, 6, 12, 10), 0)
    gradient = map_of((8, 6, 12, 10), 3)
    ours = results(norm_on_grid, x.clone(), norm, output, gradient)
    if why == "no compiler":
        monkeypatch.setattr(asc.models.norm_on_grid, "kernels", lambda: None)
    elif why == "layout":
        x = x.contiguous()
    else:
        norm, output, x = norm.double(), output.double(), x.double()
    plain = results(norm_on_grid, x.clone(), norm, output, gradient.to(x.dtype))
    differing = (ours.pop("y") - plain.pop("y")).abs() > plain["scale"] / 2
    assert float(differing.float().mean()) < 1e-3
    for name, value in ours.items():
        torch.testing.assert_close(value.double(), plain[name].double(), rtol=1e-4, atol=1e-4, msg=name)


def test_a_frozen_range_stays_and_is_required() -> None:
    x, norm, output = map_of((4, 6, 5, 7), 0), norm_of(6), ActivationQuantiser(nonnegative=True)
    output.observing = False
    with pytest.raises(RuntimeError, match="has seen no batch"):
        norm_on_grid(x, norm, output)
    output.observing = True
    norm_on_grid(x, norm, output)
    output.observing, high = False, output.high.clone()
    norm_on_grid(3 * x, norm, output)
    assert torch.equal(output.high, high)


@pytest.mark.skipif(kernels() is None, reason="no C compiler")
def test_a_value_that_is_no_number_makes_the_result_none() -> None:
    x, norm, output = map_of((4, 6, 5, 7), 0), norm_of(6), ActivationQuantiser(nonnegative=True)
    x[1, 2, 3, 4] = float("nan")
    assert bool(norm_on_grid(x, norm, output).isnan().any())
