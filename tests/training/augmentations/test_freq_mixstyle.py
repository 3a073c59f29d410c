"""Freq-MixStyle: maps keep their content and take the statistics of their bands from a mixture of two clips."""

import torch

from asc.models.workers import Workers
from asc.training.augmentations.freq_mixstyle import style, styles_of_batch, with_style


def maps(seed: int, rows: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 1, 6, 50, generator=generator, dtype=torch.float64)
    return x * (0.5 + torch.rand(rows, 1, 6, 1, generator=generator, dtype=torch.float64)) + torch.arange(6)[:, None]


def test_the_style_is_mean_and_deviation_of_each_band() -> None:
    x = maps(0)
    found = style(x)
    torch.testing.assert_close(found[:, 0], x[:, 0].mean(dim=-1))
    torch.testing.assert_close(found[:, 1], x[:, 0].std(dim=-1, correction=0), rtol=0, atol=1e-4)


def test_with_all_of_its_own_style_a_map_stays() -> None:
    x, own = maps(0), style(maps(0))
    torch.testing.assert_close(with_style(x, own, style(maps(1)), torch.ones(4, dtype=torch.float64)), x)


def test_the_new_style_is_the_mixture() -> None:
    x, own, other = maps(0), style(maps(0)), style(maps(1))
    weight = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    expected = weight[:, None, None] * own + (1 - weight[:, None, None]) * other
    found = with_style(x, own, other, weight)
    torch.testing.assert_close(style(found), expected, rtol=0, atol=1e-4)
    normed = (found - found.mean(dim=3, keepdim=True)) / found.std(dim=3, keepdim=True)
    torch.testing.assert_close(normed, (x - x.mean(dim=3, keepdim=True)) / x.std(dim=3, keepdim=True))


def test_alone_the_styles_of_a_batch_are_those_of_its_rows() -> None:
    own = style(maps(0))
    assert styles_of_batch(own, 4, Workers()) is own
