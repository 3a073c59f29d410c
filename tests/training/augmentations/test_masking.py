"""Masks: stretches of bands or frames, of all lengths up to the limit, in all places."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from asc.training.augmentations.masking import masked, stretch


@pytest.mark.parametrize("dim", [2, 3])
def test_a_stretch_takes_the_mean_of_the_map_and_the_rest_stays(dim: int) -> None:
    x = torch.randn(2, 1, 8, 10, generator=torch.Generator().manual_seed(0))
    found = masked(x, width=np.array([0.99, 0.0]), first=np.array([0.5, 0.5]), most=3, dim=dim)
    changed = (found != x).flatten(0, 1).any(dim=3 - dim + 1).tolist()
    first = 3 if dim == 2 else 4  # 0.5 of the 6 or 8 places
    assert changed[0] == [first <= place < first + 3 for place in range(x.shape[dim])]
    assert not any(changed[1])
    torch.testing.assert_close(found[0][found[0] != x[0]], x[0].mean().expand(3 * x[0].numel() // x.shape[dim]))


def test_lengths_and_places_are_equally_likely() -> None:
    rng = np.random.default_rng(0)
    start, stop = stretch(rng.random(40_000), rng.random(40_000), most=3, size=8)
    counts = Counter((stop - start).tolist())
    assert sorted(counts) == [0, 1, 2, 3]
    assert stats.chisquare(list(counts.values())).pvalue > 0.01
    three = Counter(start[stop - start == 3].tolist())
    assert sorted(three) == list(range(6))
    assert stats.chisquare(list(three.values())).pvalue > 0.01


def test_a_mask_is_never_longer_than_the_map() -> None:
    start, stop = stretch(np.array([0.999]), np.array([0.999]), most=100, size=8)
    assert (start.tolist(), stop.tolist()) == ([0], [8])
