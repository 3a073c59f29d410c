"""The folder of a run: creating it, finding it, and publishing its best model."""

import re
from pathlib import Path

import pytest
import torch

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.errors import InputError
from asc.model_file.artefact import load_model, save_model
from asc.model_file.model_info import DataIdentity, ModelInfo
from asc.models.build import build_network
from asc.models.conversion import to_integer
from asc.results import Evaluation, GroupFigures
from asc.run_files import JOURNAL
from asc.runs import folder as runs
from asc.runs.model_card import Origin, model_card


def test_a_new_run_gets_a_new_folder(tmp_path: Path) -> None:
    folder = runs.new_run_folder(tmp_path / "runs", "first")
    assert folder == tmp_path / "runs" / "first" and folder.is_dir()
    assert runs.new_run_folder(tmp_path / "runs", "first") == folder, "a folder without a journal never became a run"
    (folder / JOURNAL).touch()
    with pytest.raises(InputError, match=r"first exists: give another --name, or continue it with --resume first"):
        runs.new_run_folder(tmp_path / "runs", "first")
    assert runs.run_folder(tmp_path / "runs", "first") == folder


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../a", "/a", "a/"])
def test_a_name_must_be_a_plain_folder_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="give a plain folder name"):
        runs.new_run_folder(tmp_path / "runs", name)
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--storage .*file cannot be written"):
        runs.new_run_folder(tmp_path / "file", "first")
    with pytest.raises(InputError, match="cannot be written .File name too long"):
        runs.new_run_folder(tmp_path, "x" * 300)


def test_the_error_for_an_unknown_run_lists_the_existing_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no run other: it has no runs yet"):
        runs.run_folder(tmp_path / "runs", "other")
    for name in ("b", "a"):
        (runs.new_run_folder(tmp_path / "runs", name) / JOURNAL).touch()
    (tmp_path / "runs" / "no_run").mkdir()
    with pytest.raises(InputError, match="has no run no_run: its runs are a, b$"):
        runs.run_folder(tmp_path / "runs", "no_run")


def test_publishing_copies_the_model_and_its_config_to_best(tmp_path: Path, tiny_experiment: Experiment) -> None:
    network = build_network(tiny_experiment.architecture, tiny_experiment.front_end, seed=0).train()
    network(torch.randn(4, 1, 16, 40, generator=torch.Generator().manual_seed(0)))
    rows = (GroupFigures(name="a", clips=1, log_loss=1.0, accuracy=0.5),)
    info = ModelInfo(
        experiment=tiny_experiment,
        labels=("a", "b", "c", "d"),
        data=DataIdentity(choice=DataChoice("synthetic"), digest="0"),
        evaluation=Evaluation(
            split="valid",
            clips=1,
            log_loss=1.0,
            accuracy=0.5,
            micro_log_loss=1.0,
            micro_accuracy=0.5,
            per_class=rows,
            per_device=rows,
        ),
    )
    model = tmp_path / "trials" / "model.safetensors"
    save_model(model, to_integer(network), info)
    assert runs.publish(tmp_path, model) == info
    best = tmp_path / "best"
    assert load_model(best / "model.safetensors")[1] == info
    assert load_experiment(str(best / "config.toml")) == tiny_experiment
    assert sorted(path.name for path in best.iterdir()) == ["config.toml", "model.safetensors", "model_card.md"]
    assert (best / "model_card.md").read_text() == model_card(info, Origin())
    model.write_bytes(b"damaged")
    with pytest.raises(InputError):
        runs.publish(tmp_path, model)
    assert load_model(best / "model.safetensors")[1] == info, "the published model must stay"


def test_the_commit_is_a_commit_or_none() -> None:
    """In a repository without commits git prints the word HEAD, which is not a commit."""
    commit = runs.git_commit()
    assert commit is None or re.fullmatch("[0-9a-f]{40}", commit)
