"""Placement of the activation tensors in one static arena: greedy by size, like TensorFlow Lite Micro's planner.

Pisarchyk and Lee 2020, https://arxiv.org/abs/2001.03288, section 5.2 (offset calculation): largest tensor first, each
goes into the smallest gap that fits it between the tensors that are live at the same time. The peak of
`activation_steps` is a lower bound on the arena's size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from asc.size.activations import Step, Tensor

ALIGNMENT = 16
"""Offsets are multiples of this many bytes, as in TensorFlow Lite Micro."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A tensor and its first byte in the arena."""

    tensor: Tensor
    offset: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.tensor.size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """All tensors in the order in which they are written, and the size of the arena that holds them."""

    placed: tuple[Placed, ...]
    size_bytes: int


def arena(steps: Sequence[Step]) -> Arena:
    """Place the tensors of these steps so that tensors that are live at the same step never overlap."""
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
    """The start of the smallest gap of at least this size, or the end of the taken space if there is none."""
    gaps, free = [], 0
    for other in sorted(taken, key=lambda other: other.offset):
        if other.offset - free >= size_bytes:
            gaps.append((other.offset - free, free))
        free = max(free, -(-other.end // ALIGNMENT) * ALIGNMENT)
    return min(gaps)[1] if gaps else free
