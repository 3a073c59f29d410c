"""Remembers what was computed from tensors until one of them is written or replaced."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """One value, computed from tensors; copies and pickles of it hold none.

    It notices what torch counts (https://docs.pytorch.org/docs/stable/notes/autograd.html#in-place-correctness-checks):
    every operation in place, those of optimisers too, but none on `Tensor.data`.
    """

    def __init__(self) -> None:
        """Begin with no value."""
        self._tensors: tuple[Tensor, ...] = ()
        self._state: tuple[tuple[int, int], ...] = ()
        self._value: Value | None = None

    def get(self, compute: Callable[[], Value], *tensors: Tensor) -> Value:
        """The value that `compute` returns, without gradients, computed again if one of `tensors` has changed."""
        if any(one.is_inference() for one in tensors):  # their writes are not counted
            return compute()
        state = tuple((one._version, one.data_ptr()) for one in tensors)
        same = len(tensors) == len(self._tensors) and all(map(_is, tensors, self._tensors))
        if self._value is None or not same or state != self._state:
            with torch.inference_mode(False), torch.no_grad():
                self._value = compute()
            self._tensors, self._state = tensors, state
        return self._value

    def __reduce__(self) -> tuple[type["Remembered[Value]"], tuple[()]]:
        """Make copies and pickles begin with no value."""
        return type(self), ()


def _is(one: Tensor, other: Tensor) -> bool:
    return one is other
