"""Workers: one alone, and two real processes (`joint_work.py`)."""

import pytest
import torch

from asc.models.workers import ALONE, Workers


def test_one_worker_needs_no_process_group() -> None:
    x = torch.tensor([1.0, -2.0])
    assert ALONE.sum(x) is x and ALONE.max(x) is x
    assert torch.equal(ALONE.gather(x), x[None])
    assert ALONE.any(True) and not ALONE.any(False) and ALONE.agree(3) and ALONE.leads
    ALONE.take_from_first([x])
    assert x.tolist() == [1.0, -2.0]


@pytest.mark.parametrize("rows", [*range(1, 12), 64])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_all_rows_are_shared_evenly(rows: int, count: int) -> None:
    workers = [Workers(rank=rank, count=count).share(rows) for rank in range(count)]
    if rows < count:
        assert workers == [ALONE] * count
        return
    parts = [list(range(rows))[worker.slice_of(rows)] for worker in workers]
    assert sum(parts, []) == list(range(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1 and min(map(len, parts)) > 0


def test_two_workers_reduce_their_values(joint) -> None:
    for rank, found in enumerate(joint.parts):
        assert found["sum"].tolist() == [3.0, -3.0]
        assert found["max"].tolist() == [2.0, -1.0]
        assert found["gather"].tolist() == [[1.0, -1.0], [2.0, -2.0]]
        assert found["any"].tolist() == [False, True, True]
        assert found["agree"].tolist() == [True, False]
        assert torch.equal(found["taken0"], torch.zeros(2, 3, 2, 2)), rank
        assert bool(found["taken1"]) and int(found["taken2"]) == 7
