"""The folder in which a module starts its searches."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asc.config.experiment import Experiment

if TYPE_CHECKING:
    from search_bench import Bench


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, tiny_csv: Path, tiny_cache: Path, tiny_experiment: Experiment
) -> "Bench":
    """A bench for searches, imported only here: its imports take seconds and most scripts need none."""
    from search_bench import Bench

    return Bench(tmp_path_factory.mktemp("bench"), tiny_csv, tiny_cache, tiny_experiment)


@pytest.fixture(autouse=True)
def _restored(request: pytest.FixtureRequest) -> Iterator[None]:
    """Undo what a test changes of the environment of its bench, and the fault that it sets."""
    bench = request.getfixturevalue("bench") if "bench" in request.fixturenames else None
    before = dict(bench.environment) if hasattr(bench, "environment") else None
    yield
    if before is not None:
        bench.fault, bench.environment = None, before
