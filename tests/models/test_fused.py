"""Compiled loops: with several threads, on odd shapes, and where they cannot be compiled."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asc.models import fused
from asc.models.fused import Kernels, Steps, kernels


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and nothing remembered before and after."""
    monkeypatch.setenv("ASC_CACHE", str(tmp_path))
    kernels.cache_clear()
    yield tmp_path
    kernels.cache_clear()


@pytest.fixture
def compiled() -> Kernels:
    found = kernels()
    if found is None:
        pytest.skip("no C compiler")
    return found


def test_they_are_compiled_once(fresh: Path, compiled: Kernels) -> None:
    (file,) = (fresh / "compiled").iterdir()
    written = file.stat().st_mtime_ns
    kernels.cache_clear()
    assert kernels() is not None
    assert [one.stat().st_mtime_ns for one in (fresh / "compiled").iterdir()] == [written]


def test_a_compiler_that_does_not_know_the_processor_compiles_for_any(
    fresh: Path, compiled: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    capability = torch.backends.cpu.get_cpu_capability()
    monkeypatch.setattr(fused, "_PROCESSORS", {capability: ("-march=a-processor-of-tomorrow",)})
    kernels.cache_clear()
    assert kernels() is not None


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_may_write_is_not_used(fresh: Path, mode: int) -> None:
    (fresh / "compiled").mkdir()
    (fresh / "compiled").chmod(mode)
    assert kernels() is None


def test_they_are_used_whatever_rights_new_files_get(fresh: Path, compiled: Kernels) -> None:
    kernels.cache_clear()
    before = os.umask(0o002)
    try:
        assert kernels() is not None
    finally:
        os.umask(before)


def test_there_are_none_without_a_home_for_them(
    fresh: Path, compiled: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ASC_CACHE")
    monkeypatch.setattr(fused.Path, "home", homeless)
    kernels.cache_clear()
    assert kernels() is None


def test_there_are_none_without_a_compiler(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused.shutil, "which", lambda name: None)
    assert kernels() is None


def test_there_are_none_if_compiling_fails(fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.c"
    wrong.write_text("this is not C")
    monkeypatch.setattr(fused, "_SOURCE", wrong)
    assert kernels() is None


def test_a_map_on_two_threads_has_the_moments_of_the_whole(compiled: Kernels) -> None:
    x = torch.randn(7, 24, 31, 40).contiguous(memory_format=torch.channels_last) * 2 + 5
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        parts, low, high = compiled.moments(x)
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
    assert torch.equal(y, compiled.on_grid(x, steps))
    assert torch.equal(compiled.masked(x, inside), x * inside)


def test_values_with_gaps_or_in_another_order_are_refused(compiled: Kernels) -> None:
    x = torch.randn(4, 6, 8, 10)
    assert compiled.takes_values(x, x) and not compiled.takes(x)
    assert not compiled.takes_values(x[:, ::2])
    assert not compiled.takes_values(x, x.contiguous(memory_format=torch.channels_last))
    assert not compiled.takes(x.double().contiguous(memory_format=torch.channels_last))
