"""The folder of an evaluation: new files, removal of old ones, and a full disk."""

import dataclasses
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from asc.console.evaluation_text import About
from asc.console.output_folder import prepare
from asc.evaluation.evaluate import Predictions
from asc.report import folder
from asc.results import Examination

ALL = {"predictions.csv", "evaluation.json", "table.md", "confusion.png", "reliability.png"}


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def test_everything_is_written_and_an_earlier_evaluation_is_replaced(
    tmp_path: Path, examination: Examination, predictions: Predictions, about: About
) -> None:
    place = tmp_path / "new" / "evaluation-test"
    prepare(place)
    assert names(place) == set(), "the write test must leave nothing behind"
    (place / "mine.txt").write_text("kept")
    marked = dataclasses.replace(about, optimistic=True)
    files = folder.write(place, predictions, examination, marked)
    assert {file.name for file in files} == names(place) - {"mine.txt"} == ALL | {"OPTIMISTIC.txt"}
    assert json.loads((place / "evaluation.json").read_text())["optimistic"] is True
    assert "calibrated on test clips" in (place / "OPTIMISTIC.txt").read_text()
    prepare(place)
    folder.write(place, predictions, examination, about)
    assert names(place) == ALL | {"mine.txt"}, "this model is not optimistic"
    assert "optimistic" not in (place / "table.md").read_text()
    folder.write(place, predictions, None, about)
    assert names(place) == {"predictions.csv", "mine.txt"}, "figures of other clips must be removed"


def test_on_a_full_disk_no_file_is_cut_short(
    tmp_path: Path,
    examination: Examination,
    predictions: Predictions,
    about: About,
    file_size_limit: Callable[[int], AbstractContextManager[None]],
) -> None:
    with file_size_limit(20_000), pytest.raises(OSError):
        folder.write(tmp_path, predictions, examination, about)
    assert "confusion.png" not in names(tmp_path)
    assert not [name for name in names(tmp_path) if name.endswith(".tmp")]
