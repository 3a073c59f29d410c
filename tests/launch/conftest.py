"""The folder in which a module starts its searches."""

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
