"""Groups of options in the help of a command, and the way back to the dataclass of its options."""

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
import tyro

from asc.console import cli
from asc.console.evaluate_options import EvaluateOptions
from asc.console.grouped import grouped, ungrouped
from asc.console.train_options import TrainOptions
from asc.search.options import SearchOptions

SEARCH = Path(__file__).resolve().parents[2] / "launch" / "search.py"


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Options that commands share."""

    fold: int = 1
    """The fold."""


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A command."""

    HELP_GROUPS: ClassVar[Mapping[str, str]] = {"data": "data", "trials": "trials and time"}
    path: tyro.conf.Positional[Path]
    """A
    file."""
    data: Inner = field(default_factory=Inner)
    name: Annotated[str | None, cli.option("NAME")] = None
    trials: int = 8
    """How many."""
    overrides: Annotated[tuple[str, ...], tyro.conf.arg(name="set"), tyro.conf.UseAppendAction] = ()
    rank_by: Literal["log_loss", "accuracy"] | None = None


def parsed(*words: str) -> Outer:
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
    return ungrouped(Outer, tyro.cli(grouped(Outer), args=list(words), config=config))


def test_options_come_back_as_they_were_given() -> None:
    assert parsed("a.wav") == Outer(path=Path("a.wav"))
    given = parsed("b", "--fold", "2", "--name", "x", "--trials", "3", "--set", "a=1", "--set", "b=2")
    assert given == Outer(path=Path("b"), data=Inner(fold=2), name="x", trials=3, overrides=("a=1", "b=2"))


def test_none_is_not_among_the_words_of_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed("b").rank_by is None and parsed("b", "--rank-by", "accuracy").rank_by == "accuracy"
    with pytest.raises(SystemExit):
        parsed("--help")
    assert "--rank-by {log_loss,accuracy}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        parsed("b", "--rank-by", "None")
    assert "invalid choice 'None'" in capsys.readouterr().err


@pytest.mark.parametrize("options", [SearchOptions, TrainOptions, EvaluateOptions])
def test_groups_begin_with_options_that_exist(options: type) -> None:
    names = [one.name for one in dataclasses.fields(options)]
    groups = getattr(options, "HELP_GROUPS", {})
    assert sorted(groups, key=names.index) == list(groups), "in the order of the options"


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_help_of_a_search_has_groups_and_whole_words(columns: int) -> None:
    environment = {**os.environ, "COLUMNS": str(columns)}
    answer = subprocess.run([sys.executable, str(SEARCH), "--help"], capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
    titles = re.findall(r"╭─ ([a-z ]+) options ─", answer.stdout)
    assert sorted(titles) == sorted(SearchOptions.HELP_GROUPS.values()), "side by side where there is room"
    examples, _, rest = answer.stdout.partition("Search for the best network")
    assert examples.count("python launch/search.py") == 3
    assert all(len(line) <= columns for line in rest.splitlines())
    if columns > 80:
        return
    said = " ".join(re.sub(r"[│╭╰╮╯─]", " ", rest).split())
    for words in (
        "its stored 8-bit network on validation clips; no trial exceeds",
        "Several, as 16,32,64,128, are searched together: the trials take turns",
        "the parentheses of this regular expression match the name of the source",
    ):
        assert words in said
