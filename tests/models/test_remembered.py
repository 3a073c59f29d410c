"""What is remembered is computed again after every change of its tensors, and only then."""

import copy
import pickle

import pytest
import torch
from torch import nn

from asc.models.remembered import Remembered
from asc.training.adam import Adam


class Counted:
    """Twice a tensor, and how often that was computed."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor, self.count, self.remembered = tensor, 0, Remembered[torch.Tensor]()

    def twice(self) -> torch.Tensor:
        return self.remembered.get(self._compute, self.tensor)

    def _compute(self) -> torch.Tensor:
        self.count += 1
        return 2 * self.tensor


def test_it_is_computed_once_until_the_tensor_is_written_or_replaced() -> None:
    counted = Counted(torch.ones(3))
    for expected, change in (
        (2.0, lambda: None),
        (6.0, lambda: counted.tensor.mul_(3)),
        (8.0, lambda: setattr(counted, "tensor", torch.full((3,), 4.0))),
        (10.0, lambda: counted.tensor[:].copy_(torch.full((3,), 5.0))),
    ):
        before = counted.count
        change()
        assert counted.twice().tolist() == counted.twice().tolist() == [expected] * 3
        assert counted.count == before + 1


@pytest.mark.parametrize("optimizer", [Adam, torch.optim.Adam, torch.optim.SGD])
def test_it_notices_a_step_of_an_optimiser_and_a_loaded_state(optimizer: type[torch.optim.Optimizer]) -> None:
    layer = nn.Linear(2, 2)
    counted, start = Counted(layer.weight), copy.deepcopy(layer.state_dict())
    counted.twice()
    layer(torch.ones(1, 2)).sum().backward()
    optimizer(layer.parameters(), lr=0.1).step()  # type: ignore[call-arg]
    assert torch.equal(counted.twice(), 2 * layer.weight) and not counted.twice().requires_grad
    layer.load_state_dict(start)
    assert torch.equal(counted.twice(), 2 * start["weight"])
    layer.double()
    assert counted.twice().dtype == torch.float64


def test_copies_and_pickles_hold_no_value() -> None:
    counted = Counted(torch.ones(3))
    counted.twice()
    for other in (copy.deepcopy(counted.remembered), pickle.loads(pickle.dumps(counted.remembered))):
        assert other.get(lambda: torch.zeros(1), counted.tensor).tolist() == [0.0]


def test_a_value_computed_in_inference_mode_can_be_used_outside_of_it() -> None:
    counted = Counted(torch.ones(3))
    with torch.inference_mode():
        assert not counted.twice().is_inference()


def test_tensors_whose_writes_are_not_counted_are_read_each_time() -> None:
    with torch.inference_mode():
        counted = Counted(torch.ones(3))
        counted.twice()
        counted.tensor.mul_(3)
        assert counted.twice().tolist() == [6.0] * 3
