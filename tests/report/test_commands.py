"""The commands on the page are taken by the launch scripts' own parsers and mean what the journal says."""

import shlex
from pathlib import Path

import pytest
import tyro
from told_search import ToldSearch

from asc.console.train_options import TrainOptions
from asc.report import commands
from asc.report.from_journal import search_of
from asc.runs.events import RunStarted
from asc.runs.journal import Journal
from asc.search.options import SearchOptions

AWKWARD = "it's $HOME; <b>"


def test_the_search_is_repeated_with_all_its_settings(tmp_path: Path) -> None:
    settings = {"data": f"folder:/data/{AWKWARD}", "group_from": r"/(\d+)'", "budget_kb": 64.0, "max_ram_kb": 200.5}
    told = ToldSearch(tmp_path / AWKWARD, rule="file", mlflow_uri="none", **settings)  # type: ignore[arg-type]
    python, script, *words = shlex.split(commands.reproduce(search_of(told.entries)))
    assert (python, script) == ("python", "launch/search.py")
    options = tyro.cli(SearchOptions, args=words, config=(tyro.conf.FlagCreatePairsOff,))
    assert (options.name, options.space) == (f"{AWKWARD}-again", "quick")
    expected = told.settings.scalars()
    repeated = options.settings().scalars()
    assert expected.pop("mlflow_uri") == "none" and "mlflow_uri" not in repeated
    assert repeated == expected


def test_a_flag_is_repeated_without_a_value(tmp_path: Path) -> None:
    finals = {"final_top": 2, "final_seeds": 3, "final_cycles": 2, "final_epochs": 4}
    told = ToldSearch(tmp_path / "s", **finals, distil=True, teacher_kb=512.0)
    said = commands.reproduce(search_of(told.entries))
    assert " --distil --teacher-kb 512" in said
    options = tyro.cli(SearchOptions, args=shlex.split(said)[2:], config=(tyro.conf.FlagCreatePairsOff,))
    assert options.settings().scalars() == told.settings.scalars()


def test_a_space_of_ones_own_must_be_saved_first(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "s" / "journal.jsonl")
    journal.append(RunStarted(name="s", kind="search", settings={}, space="quick\nschema = 1\n"))
    search = search_of(journal.entries)
    assert commands.space_option(search) == "quick.toml", "it is not the shipped space of this name"
    assert "--space quick.toml" in commands.reproduce(search)


@pytest.mark.parametrize("name", ["night", AWKWARD])
def test_names_are_quoted(tmp_path: Path, name: str) -> None:
    told = ToldSearch(tmp_path / name)
    search, folder = search_of(told.entries), tmp_path / name
    assert shlex.split(commands.rebuild(folder))[2] == name
    assert shlex.split(commands.resume(folder, trials=9))[2:6] == ["--resume", name, "--trials", "9"]
    assert shlex.split(commands.evaluate(folder))[2] == str(folder / "best" / "model.safetensors")
    assert shlex.split(commands.train(search, folder))[3] == str(folder / "best" / "config.toml")


def test_the_training_of_the_best_has_the_data_of_the_search(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s", data="esc10:/d", device_irs="/irs", holdout_devices="s2, s3", fold=2)
    python, script, *words = shlex.split(commands.train(search_of(told.entries), told.folder))
    assert (python, script) == ("python", "launch/train.py")
    data = tyro.cli(TrainOptions, args=words, config=(tyro.conf.FlagCreatePairsOff,)).data
    assert (data.data, data.device_irs, data.holdout_devices, data.fold) == ("esc10:/d", "/irs", "s2, s3", 2)
