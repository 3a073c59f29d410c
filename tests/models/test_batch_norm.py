"""Batch norm over two workers' parts (`joint_work.py`) against torch's over the whole batch."""

import pytest
import torch
from torch import Tensor, nn

from asc.models.batch_norm import BatchNorm1d, BatchNorm2d


def whole(parts: list[dict[str, Tensor]], kind: str) -> dict[str, Tensor]:
    """Outputs, gradients and buffers of torch's float64 batch norm over the whole batch, by name."""
    x, gradient = parts[0][f"{kind}.x"].double(), parts[0][f"{kind}.gradient"].double()
    norm = (nn.BatchNorm2d if kind == "map" else nn.BatchNorm1d)(x.shape[1]).double()
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 1.5, x.shape[1]))
    x.requires_grad_()
    y = norm(x)
    y.backward(gradient)
    assert x.grad is not None and norm.weight.grad is not None and norm.bias.grad is not None
    gradients = {"x_gradient": x.grad, "weight_gradient": norm.weight.grad, "bias_gradient": norm.bias.grad}
    return {"y": y.detach(), **gradients, **dict(norm.named_buffers())}


@pytest.mark.parametrize("kind", ["map", "vector"])
def test_two_uneven_parts_equal_the_whole(joint, kind: str) -> None:
    """The tolerance is torch's own float32 error when the mean is 500 times the standard deviation."""
    expected = whole(joint.parts, kind)
    first, second = ({name: part[f"{kind}.{name}"] for name in expected} for part in joint.parts)

    def close(actual: Tensor, name: str) -> None:
        torch.testing.assert_close(actual.double(), expected[name].double(), rtol=2e-4, atol=1e-3, msg=name)

    for name in ("y", "x_gradient"):
        close(torch.cat([first[name], second[name]]), name)
    for name in ("weight_gradient", "bias_gradient"):
        close(first[name] + second[name], name)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(first[name], second[name]), "the workers must agree bit for bit"
        torch.testing.assert_close(first[name].double(), expected[name].double(), rtol=1e-5, atol=0, msg=name)


@pytest.mark.parametrize(("ours", "theirs"), [(BatchNorm1d(4), nn.BatchNorm1d(4)), (BatchNorm2d(4), nn.BatchNorm2d(4))])
def test_one_worker_equals_torch(ours: nn.Module, theirs: nn.Module) -> None:
    shape = (6, 4) if isinstance(ours, BatchNorm1d) else (6, 4, 5, 3)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for mode in (True, False):
        assert torch.equal(ours.train(mode)(x), theirs.train(mode)(x))
    for name, buffer in theirs.named_buffers():
        assert torch.equal(ours.get_buffer(name), buffer)
