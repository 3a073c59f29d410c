"""Pieces cover every value of every map once, at the same places."""

import pytest
import torch
from torch import Tensor

from asc.models.pieces import PER_THREAD, pieces

CHANNELS_LAST = torch.channels_last


def numbered(layout: torch.memory_format, size: tuple[int, ...] = (4, 6, 100, 80)) -> Tensor:
    return torch.arange(float(torch.Size(size).numel())).view(size).contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.contiguous_format, CHANNELS_LAST])
def test_pieces_of_two_maps_are_at_the_same_places(layout: torch.memory_format) -> None:
    x = numbered(layout)
    y, marks = torch.empty_like(x), torch.zeros_like(x, dtype=torch.int32)
    parts = list(pieces(x, y, marks))
    assert len(parts) == -(-x.numel() // (PER_THREAD * torch.get_num_threads())) > 1
    for values, copy, mark in parts:
        copy.copy_(values)
        mark.add_(1)
    assert torch.equal(x, y)
    assert bool((marks == 1).all())


@pytest.mark.parametrize(
    "maps",
    [
        (numbered(CHANNELS_LAST), numbered(torch.contiguous_format)),
        (numbered(CHANNELS_LAST)[:, :, ::2], numbered(CHANNELS_LAST)[:, :, ::2]),
        (torch.ones(3, 4), torch.ones(3, 4)),
        (torch.ones(1, 1).expand(400, 800), torch.ones(1, 1).expand(400, 800)),
    ],
    ids=["layouts that differ", "gaps", "small", "one value many times"],
)
def test_maps_that_cannot_be_cut_are_yielded_whole(maps: tuple[Tensor, Tensor]) -> None:
    ((first, second),) = pieces(*maps)
    assert first is maps[0] and second is maps[1]
