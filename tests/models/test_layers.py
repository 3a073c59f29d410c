"""The float layers against torch's and NumPy's arithmetic."""

import numpy as np
import torch
from torch import nn

from asc.models.layers import (
    MaxPool,
    ResidualNorm,
    SqueezeExcite,
    StatisticsPool,
    StoredNorm,
    channels_last,
    folded_expand,
    in_bands,
    over_bands,
    sum_of,
)


def test_statistics_pool_equals_numpy_with_means_before_deviations():
    x = torch.randn(2, 3, 4, 50, generator=torch.Generator().manual_seed(0))
    pooled = StatisticsPool()(x).numpy()
    exact = x.double().numpy()
    means = exact.mean(axis=3).reshape(2, 12)
    deviations = np.sqrt(exact.var(axis=3) + 1e-5).reshape(2, 12)
    np.testing.assert_allclose(pooled, np.concatenate([means, deviations], axis=1), rtol=1e-5, atol=1e-6)


def test_statistics_pool_is_precise_for_an_hour_with_a_large_offset():
    x = 1000 + torch.randn(1, 1, 2, 360_000, generator=torch.Generator().manual_seed(1))
    deviations = StatisticsPool()(x)[0, 2:]
    expected = (x.double().var(dim=3, correction=0) + 1e-5).sqrt().flatten()
    torch.testing.assert_close(deviations.double(), expected, rtol=1e-4, atol=0)


def test_residual_norm_equals_numpy_by_clip_and_bin() -> None:
    x = 5 + torch.randn(2, 3, 4, 50, generator=torch.Generator().manual_seed(0))
    exact = x.double().numpy()
    mean, variance = exact.mean(axis=(1, 3), keepdims=True), exact.var(axis=(1, 3), keepdims=True)
    expected = 0.1 * exact + (exact - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(ResidualNorm(0.1)(x).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_residual_norm_without_its_shortcut_undoes_a_gain_and_an_offset_per_bin() -> None:
    x = torch.randn(2, 3, 4, 50, generator=torch.Generator().manual_seed(0))
    coloured = x * torch.tensor([0.5, 1.0, 2.0, 4.0])[:, None] + torch.arange(4)[:, None]
    torch.testing.assert_close(ResidualNorm(0.0)(coloured), ResidualNorm(0.0)(x), rtol=0, atol=1e-4)


def test_squeeze_excite_gates_each_channel():
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(3)
    se = SqueezeExcite(8, 3, norm=norm).eval()
    x = torch.randn(4, 8, 5, 6)
    pooled = x.mean(3).mean(2)
    expected = torch.sigmoid(nn.Sequential(se.reduce, nn.ReLU(), norm, se.expand)(pooled))
    torch.testing.assert_close(se(x), x * expected.view(4, 8, 1, 1))
    assert bool((expected > 0).all() and (expected < 1).all())


def test_channels_last_changes_the_layout_but_not_the_values():
    x = torch.randn(2, 1, 10, 7)
    conv = nn.Conv2d(1, 4, 3, padding=1).to(memory_format=torch.channels_last)
    assert torch.equal(channels_last(x), x)
    answer = conv(channels_last(x))
    assert answer.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(answer, conv(x))


def test_the_folded_layer_equals_norm_then_layer() -> None:
    se = SqueezeExcite(12, 3, norm=StoredNorm(3)).double().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, buffer in se.norm.named_buffers():
        buffer.copy_(torch.rand(3, generator=generator) * 2 + 0.1 - 1.1 * (name != "running_var"))
    bottleneck = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    weight, bias = folded_expand(se)
    assert weight.dtype == bias.dtype == torch.float32
    folded = torch.nn.functional.linear(bottleneck, weight.double(), bias.double())
    assert float((folded - se.expand(se.norm(bottleneck))).abs().max()) < 1e-6


def test_values_of_bands_belong_to_neighbouring_bins() -> None:
    x = torch.arange(12.0).view(1, 2, 6, 1)
    assert in_bands(x, 3).flatten(2).squeeze(0).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    values = over_bands(torch.arange(6.0), 2, 6)
    assert values.shape == (1, 2, 6, 1)
    assert values.flatten().tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_max_pool_rounds_sizes_up_and_cuts_the_last_window() -> None:
    x = torch.tensor([[-3.0, -2, -5, -7, -1], [-4, -9, -6, -8, -2]])[None, None]
    assert MaxPool((2, 2))(x).tolist() == [[[[-2, -5, -1]]]]


def test_a_sum_adds_a_map_of_one_bin_to_every_bin() -> None:
    whole, row = torch.tensor([[1.0, -5.0], [2.0, 3.0]])[None, None], torch.tensor([[1.0, 1.0]])[None, None]
    assert sum_of((whole, row, whole), relu=False).tolist() == [[[[3, -9], [5, 7]]]]
    assert sum_of((whole, row, whole), relu=True).tolist() == [[[[3, 0], [5, 7]]]]
