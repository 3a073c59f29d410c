"""The workers that train one network together: torch's default process group, which whoever starts them has joined.

https://docs.pytorch.org/docs/stable/distributed.html. Tensors travel as they are, never as pickled objects. What is
reduced here carries no gradient; gradients themselves are averaged by torch's DistributedDataParallel.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """One of `count` workers, the one with this `rank`. All call the same methods in the same order."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes files."""
        return self.rank == 0

    def share(self, rows: int) -> "Workers":
        """The workers that share a batch of `rows` rows.

        Where there are fewer rows than workers each is alone with the whole batch: all then compute the same, for a
        worker without a row has no statistics (and torch's batch norm dies of an empty batch).
        """
        return self if rows >= self.count else ALONE

    def slice_of(self, rows: int) -> slice:
        """This worker's rows of a batch: consecutive ones, as many as the others' or one more or less."""
        return slice(rows * self.rank // self.count, rows * (self.rank + 1) // self.count)

    def sum(self, x: Tensor) -> Tensor:
        """The sum over workers, the same to the last bit on each, of any shape."""
        return x if self.count == 1 else self._reduced(x, torch.distributed.ReduceOp.SUM)

    def max(self, x: Tensor) -> Tensor:
        """The largest of all workers' values, of any shape."""
        return x if self.count == 1 else self._reduced(x, torch.distributed.ReduceOp.MAX)

    def gather(self, x: Tensor) -> Tensor:
        """(workers, *shape): x of each worker, by rank."""
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
        """Overwrite tensors with those of the worker that leads."""
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
    """This process among those of the default process group."""
    return Workers(rank=torch.distributed.get_rank(), count=torch.distributed.get_world_size())
