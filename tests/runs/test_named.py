"""Models and configs by the names of runs and trials: what is found, and what is said if nothing is."""

import shutil
from pathlib import Path
from typing import Literal

import pytest
from journals import asked_of

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.errors import InputError
from asc.run_files import BEST_FOLDER, CONFIG_FILE, JOURNAL, MODEL_FILE, TRIALS_FOLDER
from asc.runs.events import FinalAsked, FinalistsChosen, RunEnded, RunStarted, TrialEnded
from asc.runs.folder import best_folder
from asc.runs.journal import Journal
from asc.runs.named import config, lacking_groups, model_file


@pytest.mark.parametrize("prefix", ["", "runs/"])
def test_a_name_finds_the_best_model_and_those_of_trials(night: Path, prefix: str) -> None:
    assert model_file(Path(f"{prefix}night")).read_text() == "best"
    assert model_file(Path(f"{prefix}night/t000")).read_text() == "trials/t000"
    assert model_file(night / BEST_FOLDER / MODEL_FILE) == night / BEST_FOLDER / MODEL_FILE
    assert model_file(night).read_text() == "best"


def test_a_name_finds_the_config_of_any_trial(night: Path, tiny_experiment: Experiment) -> None:
    found = {name: config(name) for name in ("night", "night/t002", "runs/night/t003", "qat_8b", "no/such/place")}
    assert found == {
        "night": tiny_experiment.updated({"seed": 1}),
        "night/t002": tiny_experiment.updated({"seed": 2}),
        "runs/night/t003": tiny_experiment.updated({"seed": 3}),
        "qat_8b": None,
        "no/such/place": None,
    }


@pytest.mark.parametrize("prefix", ["", "runs/"])
def test_the_best_within_one_of_several_budgets_is_named_by_its_folder(
    night: Path, tiny_experiment: Experiment, prefix: str
) -> None:
    folder = night / best_folder(16.0)
    folder.mkdir()
    (folder / MODEL_FILE).write_text("best within 16 KB")
    (folder / CONFIG_FILE).write_text(tiny_experiment.updated({"seed": 6}).to_toml())
    assert model_file(Path(f"{prefix}night/best-16kb")).read_text() == "best within 16 KB"
    assert config(f"{prefix}night/best-16kb") == tiny_experiment.updated({"seed": 6})
    for find in (model_file, config):
        with pytest.raises(InputError, match="night has no trial best-8kb: the completed trials of night are t000, t0"):
            find(Path(f"{prefix}night/best-8kb"))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nihgt", "nihgt is neither a model file nor a run nor a trial: the runs in runs are night"),
        ("night/t009", "night has no trial t009: the completed trials of night are t000, t001"),
        (
            "night/t002",
            "night/t002 has no model file: its outcome is stopped; the completed trials of night are t000, t001",
        ),
        ("night/t003", "night/t003 has no model file: the trial has not ended"),
    ],
)
def test_what_has_no_model_is_named(night: Path, name: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        model_file(Path(name))
    assert str(refused.value) == said


def test_models_that_were_removed_or_are_still_to_come_are_named(night: Path) -> None:
    assert model_file(night / BEST_FOLDER) == night / BEST_FOLDER / MODEL_FILE
    assert model_file(night / TRIALS_FOLDER / "t000") == night / TRIALS_FOLDER / "t000" / MODEL_FILE
    shutil.rmtree(night / BEST_FOLDER)
    with pytest.raises(
        InputError, match="^night has no model file: it has not ended; the completed trials of night are"
    ):
        model_file(Path("night"))
    Journal(night / JOURNAL).append(RunEnded(outcome="interrupted", best="t001"))
    shutil.rmtree(night / TRIALS_FOLDER)
    with pytest.raises(InputError, match=r"^night has no model file: .*best was removed$"):
        model_file(Path("night"))
    with pytest.raises(InputError, match=r"t001 has none, or lies in a bucket or on another machine$"):
        model_file(Path("night/t001"))
    with pytest.raises(InputError, match="^night has no trial t7: the completed trials of night are t000, t001$"):
        config("night/t7")


def test_a_training_has_one_model_under_both_names(
    tmp_path: Path, tiny_experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "alone"
    (folder / BEST_FOLDER).mkdir(parents=True)
    journal = Journal(folder / JOURNAL)
    journal.append(RunStarted(name="alone", kind="train", settings={}))
    with pytest.raises(InputError, match="no trial of alone has completed: it has no trials yet"):
        config("alone")
    journal.append(asked_of("t000", tiny_experiment))
    with pytest.raises(InputError, match="^alone has no model file: nothing has completed in it yet$"):
        model_file(Path("alone"))
    (folder / BEST_FOLDER / MODEL_FILE).write_text("best")
    assert model_file(Path("alone")) == model_file(Path("alone/t000")) == Path("runs/alone/best") / MODEL_FILE
    assert config("alone") == config("alone/t000") == tiny_experiment


def test_a_final_is_named_like_a_trial_and_may_be_the_best(night: Path, tiny_experiment: Experiment) -> None:
    final = tiny_experiment.updated({"seed": 7})
    journal = Journal(night / JOURNAL)
    journal.append(FinalistsChosen(trials=("t000",), seeds=(7,), cycles=2, epochs_per_cycle=3))
    journal.append(FinalAsked(final="t000-seed7", trial="t000", title="t000", seed=7, config=final.flat()))
    with pytest.raises(InputError, match="^night/t000-seed7 has no model file: the trial has not ended$"):
        model_file(Path("night/t000-seed7"))
    assert config("night") == tiny_experiment.updated({"seed": 1}), "nothing else is in best/ yet"
    (night / BEST_FOLDER / CONFIG_FILE).write_text(tiny_experiment.updated({"seed": 5}).to_toml())
    assert config("night") == tiny_experiment.updated({"seed": 5}), "what best/ holds says its own config"
    (night / BEST_FOLDER / CONFIG_FILE).unlink()
    (night / TRIALS_FOLDER / "t000-seed7").mkdir()
    (night / TRIALS_FOLDER / "t000-seed7" / MODEL_FILE).write_text("final")
    journal.append(
        TrialEnded(trial="t000-seed7", outcome="completed", epochs=6, seconds=1.0, log_loss=1.1, accuracy=0.6)
    )
    journal.append(RunEnded(outcome="finished", best="t000-seed7"))
    assert model_file(Path("night/t000-seed7")).read_text() == "final"
    assert config("night") == config("night/t000-seed7") == final


@pytest.mark.parametrize("kind", ["search", "train"])
def test_a_config_of_a_run_with_groups_is_not_taken_without_them_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Literal["search", "train"]
) -> None:
    monkeypatch.chdir(tmp_path)
    pattern, best = r"/(\d+-\d+)-", Path("runs") / "day" / BEST_FOLDER
    settings = {"data": "folder:a", "group_from": pattern}
    Journal(Path("runs") / "day" / JOURNAL).append(RunStarted(name="day", kind=kind, settings=settings))
    best.mkdir()
    (best / CONFIG_FILE).write_text("")
    for given in ("day", "day/t001", str(best), str(best / CONFIG_FILE)):
        (note,) = lacking_groups(given, DataChoice("folder:a"))
        assert note.startswith(r"day was run on folder:a with --group-from '/(\d+-\d+)-': without it, clips of one")
        assert lacking_groups(given, DataChoice("folder:b")) == [], "of other data nothing is known"
        assert lacking_groups(given, DataChoice("folder:a", group_from="(x)")) == []
    assert lacking_groups(None, DataChoice("folder:a")) == lacking_groups("no/file", DataChoice("folder:a")) == []
