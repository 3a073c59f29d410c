"""What a search says when it has ended."""

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from asc.budget import rule
from asc.journal import Journal, fold
from asc.search.finish import Summary, commands
from asc.search.settings import SearchSettings


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


@pytest.mark.parametrize("name", ["night", "my night", "it's $HOME; x"])
def test_the_command_that_trains_the_best_can_be_pasted_whatever_the_run_is_called(
    journal: Callable[[], Journal], settings: SearchSettings, tmp_path: Path, name: str
) -> None:
    best, folder = fold(journal().entries).completed()[0], tmp_path / name
    summary = Summary(
        ending="finished", folder=folder, rule=rule("dcase2021"), rows=[], trials=(best,), best=best, reference=None
    )
    settings = dataclasses.replace(settings, group_from=r"/(\d+)'")
    words = shlex.split(dict(commands(summary, settings, "browse"))["train the best with the full schedule"])
    assert words[words.index("--group-from") + 1] == r"/(\d+)'"
    assert words[words.index("--name") + 1 :] == [f"{name}-best", "--cycles", "3", "--epochs-per-cycle", "120"]
    assert words[words.index("--config") + 1] == str(folder / "best" / "config.toml")
