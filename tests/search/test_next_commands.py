"""The commands that are named at the end of a search."""

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from asc.runs.events import Event
from asc.runs.finals import finals_of
from asc.runs.journal import Journal
from asc.runs.record import fold
from asc.search.next_commands import commands
from asc.search.settings import SearchSettings
from asc.search.summary import Summary
from asc.size.rules import rule

_FULL_SCHEDULE = "train the best with the full schedule"


@pytest.mark.parametrize("name", ["night", "my night", "it's $HOME; x"])
def test_the_command_that_trains_the_best_can_be_pasted_for_any_run_name(
    journal: Callable[[], Journal], settings: SearchSettings, tmp_path: Path, name: str
) -> None:
    best, folder = fold(journal().entries).completed()[0], tmp_path / name
    summary = Summary(
        ending="finished", folder=folder, rule=rule("dcase2021"), rows=[], trials=(best,), best=best, reference=None
    )
    settings = dataclasses.replace(settings, group_from=r"/(\d+)'", holdout_devices="s2, s3")
    words = shlex.split(dict(commands(summary, settings, "browse"))[_FULL_SCHEDULE])
    assert words[words.index("--holdout-devices") + 1] == "s2, s3"
    assert words[words.index("--group-from") + 1] == r"/(\d+)'"
    assert words[words.index("--name") + 1 :] == [f"{name}-best", "--cycles", "3", "--epochs-per-cycle", "120"]
    assert words[words.index("--config") + 1] == str(folder / "best" / "config.toml")


def test_the_winner_of_the_finals_needs_no_full_schedule(
    journal: Callable[[], Journal], finals: list[Event], settings: SearchSettings, tmp_path: Path
) -> None:
    opened = journal()
    for event in finals:
        opened.append(event)
    record = fold(opened.entries)
    best = record.completed()[0]
    summary = Summary(
        ending="finished",
        folder=tmp_path,
        rule=rule("dcase2021"),
        rows=[],
        trials=(best,),
        best=best,
        reference=None,
        finals=finals_of(record),
    )
    assert _FULL_SCHEDULE not in dict(commands(summary, settings, "browse"))
    assert _FULL_SCHEDULE in dict(commands(dataclasses.replace(summary, finals=None), settings, "browse"))
