"""The changes to maps together: for several workers the same as for one, and the partner is never mixup's."""

import numpy as np
import pytest
import torch

from asc.config.experiment import Experiment
from asc.models.workers import Workers
from asc.training.augmentations import maps
from asc.training.augmentations.draws import drawn
from asc.training.augmentations.maps import changed_maps

ON = Experiment().updated(
    {"augment.freq_mixstyle_p": 0.7, "augment.frequency_mask_bands": 5, "augment.time_mask_s": 0.05}
)
ROWS = 7


def batch() -> torch.Tensor:
    return torch.randn(ROWS, 1, 12, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_without_augmentation_the_maps_stay() -> None:
    x = batch()
    assert changed_maps(x, Experiment(), {}, rows=ROWS) is x


@pytest.mark.parametrize("count", [2, 3])
def test_the_rows_of_all_workers_are_those_of_one(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange between processes is replaced by its result; `test_train` runs it between real processes."""
    x, numbers = batch(), drawn(ON.augment, seed=0, epoch=0, count=ROWS)
    whole = changed_maps(x, ON, numbers, rows=ROWS)
    monkeypatch.setattr(maps, "styles_of_batch", lambda own, rows, workers: maps.style(x))
    parts = []
    for rank in range(count):
        workers = Workers(rank=rank, count=count)
        mine = workers.slice_of(ROWS)
        ahead = {draw: np.concatenate([values[mine], values[:2]]) for draw, values in numbers.items()}
        parts.append(changed_maps(x[mine], ON, ahead, rows=ROWS, workers=workers))
    torch.testing.assert_close(torch.cat(parts), whole)
    assert (whole != x).any()


def test_the_style_comes_from_half_a_batch_away() -> None:
    only_style = Experiment().updated({"augment.freq_mixstyle_p": 1.0, "augment.freq_mixstyle_alpha": 1e-3})
    x = batch() + 100 * torch.arange(ROWS)[:, None, None, None]
    found = changed_maps(x, only_style, drawn(only_style.augment, seed=0, epoch=0, count=ROWS), rows=ROWS)
    level = (found.mean(dim=(1, 2, 3)) / 100).round().int().tolist()
    assert all(new in (row, (row + ROWS // 2) % ROWS) for row, new in enumerate(level))
    assert level != list(range(ROWS))
