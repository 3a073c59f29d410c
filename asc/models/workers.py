"""The workers that train one network together, as torch's default process group, which their starter must have joined.

https://docs.pytorch.org/docs/stable/distributed.html. Only tensors are sent, never pickled objects. The reductions here
carry no gradient; torch's DistributedDataParallel averages the gradients.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """The worker with this `rank` among `count`. All workers must call the same methods in the same order."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the worker that writes files."""
        return self.rank == 0

    def share(self, rows: int) -> "Workers":
        """The workers that share a batch of `rows` rows.

        If there are fewer rows than workers, each worker computes the whole batch alone. A worker without rows would
        have no statistics, and torch's batch norm fails on an empty batch.
        """
        return self if rows >= self.count else ALONE

    def slice_of(self, rows: int) -> slice:
        """This worker's consecutive rows of a batch; the workers' shares differ by at most one row."""
        return slice(rows * self.rank // self.count, rows * (self.rank + 1) // self.count)

    def sum(self, x: Tensor) -> Tensor:
        """The sum over workers of a tensor of any shape, bit for bit the same on each."""
        return x if self.count == 1 else self._reduced(x, torch.distributed.ReduceOp.SUM)

    def max(self, x: Tensor) -> Tensor:
        """The elementwise maximum over workers of a tensor of any shape."""
        return x if self.count == 1 else self._reduced(x, torch.distributed.ReduceOp.MAX)

    def gather(self, x: Tensor) -> Tensor:
        """Each worker's x, stacked by rank: (workers, *x.shape)."""
        parts = [torch.empty_like(x) for _ in range(self.count)] if self.count > 1 else [x]
        if self.count > 1:
            torch.distributed.all_gather(parts, x)
        return torch.stack(parts)

    def any(self, flag: bool) -> bool:
        """Whether the flag of any worker is set."""
        return flag if self.count == 1 else self._most(int(flag)) > 0

    def agree(self, number: int) -> bool:
        """Whether all workers have the same number."""
        return self.count == 1 or self._most(number) == -self._most(-number)

    def take_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors with those of the leading worker (rank 0)."""
        for tensor in tensors if self.count > 1 else ():
            torch.distributed.broadcast(tensor, src=0)

    def _most(self, number: int) -> int:
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        return int(self.max(torch.tensor(number, device=device)))

    def _reduced(self, x: Tensor, operation: torch.distributed.ReduceOp.RedOpType) -> Tensor:
        reduced = x.detach().clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(reduced, operation)
        return reduced


ALONE = Workers()


def joined() -> Workers:
    """This process as a worker of the default process group."""
    return Workers(rank=torch.distributed.get_rank(), count=torch.distributed.get_world_size())
