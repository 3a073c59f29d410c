"""Compiled loops over maps: with several threads, on odd shapes, and at the ends of a grid."""

import pytest
import torch

from asc.models.fused import Kernels, Steps, kernels


@pytest.fixture
def compiled() -> Kernels:
    found = kernels()
    if found is None:
        pytest.skip("no C compiler")
    return found


def test_a_map_on_two_threads_has_the_moments_of_the_whole(compiled: Kernels) -> None:
    x = torch.randn(7, 24, 31, 40).contiguous(memory_format=torch.channels_last) * 2 + 5
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        parts, (low, high) = compiled.moments(x)
    finally:
        torch.set_num_threads(threads)
    assert parts.shape == (2, 49) and float(parts[:, 0].sum()) == 7 * 31 * 40
    means = x.double().mean(dim=(0, 2, 3))
    torch.testing.assert_close((parts[:, :1] * parts[:, 1:25]).sum(0) / (7 * 31 * 40), means, rtol=1e-6, atol=0)
    assert torch.equal(low, x.amin(dim=(0, 2, 3))) and torch.equal(high, x.amax(dim=(0, 2, 3)))


def test_variances_keep_their_digits_far_from_zero(compiled: Kernels) -> None:
    x = (torch.randn(8, 5, 64, 60) + 1000).contiguous(memory_format=torch.channels_last)
    (parts,) = compiled.moments(x)[0]
    torch.testing.assert_close(parts[6:], x.double().var(dim=(0, 2, 3), unbiased=False), rtol=1e-6, atol=0)


def test_gradients_pass_only_where_nothing_was_clamped(compiled: Kernels) -> None:
    x = torch.tensor([-0.6, -0.4, 0.0, 254.4, 255.6]).view(5, 1, 1, 1)
    steps = Steps(factor=torch.ones(1), offset=torch.zeros(1), lowest=0.0, highest=255.0, width=0.5)
    assert compiled.on_grid(x, steps).flatten().tolist() == [0.0, 0.0, 0.0, 127.0, 127.5]
    sums, _ = compiled.gradient_sums(torch.ones_like(x), x, steps, torch.zeros(1))
    assert float(sums) == 3.0
    y = torch.empty_like(x)
    factor, lowest, highest, width = torch.tensor([1.0, 0.0, 255.0, 0.5])
    inside = compiled.grid_and_mask(x, y, factor, (lowest, highest), width)
    assert inside.flatten().tolist() == [False, True, True, True, False]
    without = torch.empty_like(x)
    compiled.grid(x, without, factor, (lowest, highest), width)
    assert torch.equal(without, y)
    assert torch.equal(y, compiled.on_grid(x, steps))
    assert torch.equal(compiled.masked(x, inside), x * inside)


def test_values_with_gaps_or_in_another_order_are_refused(compiled: Kernels) -> None:
    x = torch.randn(4, 6, 8, 10)
    assert compiled.takes_values(x, x) and not compiled.takes(x)
    assert not compiled.takes_values(x[:, ::2])
    assert not compiled.takes_values(x, x.contiguous(memory_format=torch.channels_last))
    assert not compiled.takes(x.double().contiguous(memory_format=torch.channels_last))


@pytest.mark.parametrize("lowest", [0.0, -100.0])
def test_a_map_in_bytes_has_the_values_of_the_map_on_the_grid(compiled: Kernels, lowest: float) -> None:
    x = torch.randn(3, 5, 8, 9).contiguous(memory_format=torch.channels_last) * 200
    steps = Steps(factor=torch.rand(5), offset=torch.randn(5), lowest=lowest, highest=lowest + 255, width=0.37)
    found = compiled.steps_on_grid(x, steps)
    assert found is not None
    assert torch.equal(compiled.values(found), compiled.on_grid(x, steps))
    again = compiled.whole_steps(compiled.values(found), 0.37)
    assert again is not None and torch.equal(compiled.values(again), compiled.values(found))


def test_a_map_with_a_nan_has_no_steps(compiled: Kernels) -> None:
    x = torch.randn(3, 5, 8, 9).contiguous(memory_format=torch.channels_last)
    steps = Steps(factor=torch.ones(5), offset=torch.zeros(5), lowest=-9.0, highest=246.0, width=1.0)
    x[1, 2, 3, 4] = float("inf")
    found = compiled.steps_on_grid(x, steps)
    assert found is not None and int(found.steps[1, 2, 3, 4]) == 255
    x[1, 2, 3, 4] = float("nan")
    assert compiled.steps_on_grid(x, steps) is None
    assert compiled.on_grid(x, steps).isnan().sum() == 1
