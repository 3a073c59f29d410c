"""What a search says when it has ended."""

from collections.abc import Callable
from pathlib import Path

import pytest

from asc.budget import rule
from asc.journal import Journal, fold
from asc.search.finish import Summary


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("dcase2021", "24,576", "16,384"), ("dcase2022", "24,000", "16,000"), ("file", "27,576", "19,384")],
)
def test_what_was_gained_is_in_bytes_of_the_rule(
    journal: Callable[[], Journal], tmp_path: Path, name: str, before: str, after: str
) -> None:
    record = fold(journal().entries)
    summary = Summary(
        ending="finished",
        folder=tmp_path,
        rule=rule(name),
        rows=[],
        trials=tuple(record.trials.values()),
        best=record.completed()[0],
        reference=record.trials["t000"],
    )
    assert summary.gained().endswith(f"log loss 1.200 -> 0.900, accuracy 75.0% -> 75.0%, bytes {before} -> {after}")
