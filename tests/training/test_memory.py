"""Memory that a training frees is used again; after the training the system has it back."""

import resource
import sys
from pathlib import Path

import pytest
import torch

from asc.training import memory

PAGES = 64 * 2**20 // resource.getpagesize()

pytestmark = pytest.mark.skipif(memory._c_library() is None, reason="only the GNU C library has these limits")


def new_pages() -> int:
    """How many pages a map of 64 MB takes from the system."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(64 * 2**18).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_mb() -> float:
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return resident * resource.getpagesize() / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_freed_map_is_used_again_and_returned_at_the_end() -> None:
    with memory.kept_memory():
        assert min(new_pages() for _ in range(6)) < PAGES / 10
        kept = resident_mb()
    assert resident_mb() < kept - 48


def test_without_the_c_library_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_c_library", lambda: None)
    with memory.kept_memory():
        assert float(torch.ones(3).sum()) == 3.0


def test_an_error_passes_through() -> None:
    with pytest.raises(ValueError, match="inside"), memory.kept_memory():
        raise ValueError("inside")
