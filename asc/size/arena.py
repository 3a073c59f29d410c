"""Where each activation tensor lies in one static arena: greedy by size, as TensorFlow Lite Micro plans its memory.

Pisarchyk and Lee 2020, https://arxiv.org/abs/2001.03288, section 5.2 (offset calculation): the largest tensor first,
each into the smallest gap that it fits between those that are live with it. The peak of `activation_steps` is a lower
bound of the arena.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from asc.size.activations import Step, Tensor

ALIGNMENT = 16
"""Offsets are multiples of this, in bytes, as in TensorFlow Lite Micro."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A tensor and the byte of the arena that it starts at."""

    tensor: Tensor
    offset: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.tensor.size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """All tensors in the order in which they are written, and the bytes that hold them."""

    placed: tuple[Placed, ...]
    size_bytes: int


def arena(steps: Sequence[Step]) -> Arena:
    """Place every tensor of these steps so that no two that are live at the same step overlap."""
    tensors = list(dict.fromkeys(tensor for step in steps for tensor in step.live))
    placed: list[Placed] = []
    for tensor in sorted(tensors, key=lambda tensor: -tensor.size_bytes):
        together = [other for other in placed if _live_together(tensor, other.tensor)]
        placed.append(Placed(tensor=tensor, offset=_offset(tensor.size_bytes, together)))
    placed.sort(key=lambda one: tensors.index(one.tensor))
    return Arena(placed=tuple(placed), size_bytes=max(one.end for one in placed))


def _live_together(one: Tensor, other: Tensor) -> bool:
    return one.first <= other.last and other.first <= one.last


def _offset(size_bytes: int, taken: Sequence[Placed]) -> int:
    """The start of the smallest gap of at least this size, or the end of all that is taken."""
    gaps, free = [], 0
    for other in sorted(taken, key=lambda other: other.offset):
        if other.offset - free >= size_bytes:
            gaps.append((other.offset - free, free))
        free = max(free, -(-other.end // ALIGNMENT) * ALIGNMENT)
    return min(gaps)[1] if gaps else free
