"""The updates that a journal becomes in MLflow."""

import math
from pathlib import Path

import pytest

from asc.results import SplitFigures, StoredSize, TeacherNetwork
from asc.runs.events import (
    FinalAsked,
    FinalConfirmed,
    FinalistsChosen,
    RungReached,
    SoftLabelsMade,
    TeacherAsked,
    TrialPromoted,
)
from asc.runs.record import RunRecord, add, fold
from asc.tracking.content import run_key, updates
from asc.tracking.update import Update, rounded

FOLDER = Path("runs/night")


def told(script) -> list[Update]:
    """All updates made from a journal."""
    record: RunRecord | None = None
    found: list[Update] = []
    for entry in script.journal.entries:
        if record is None:
            record = fold([entry])
        else:
            add(record, entry)
        found += updates(record, entry, FOLDER)
    return found


def last_status(found: list[Update]) -> dict[str | None, str]:
    return {update.head.trial: update.status for update in found if update.status is not None}


def test_the_same_journal_gives_the_same_updates(script):
    script.started()
    script.trial("t000", "completed", 1.0)
    script.run_ended(best="t000")
    assert told(script) == told(script)


def test_the_epoch_is_the_step_of_its_metrics(script):
    script.started()
    script.asked("t000")
    script.epoch("t000", 4)
    figures = {figure.key: (figure.value, figure.step) for figure in told(script)[-1].figures}
    assert figures == {
        "epoch/train_loss": (0.5, 4),
        "epoch/valid_log_loss": (0.625, 4),
        "epoch/valid_accuracy": (0.8, 4),
        "epoch/learning_rate": (0.00025, 4),
    }


def test_sampled_values_are_extra_params_only_if_repair_changed_them(script):
    script.started()
    script.asked("t000")
    params = told(script)[-1].params
    assert {key for key in params if key.startswith("sampled.")} == {"sampled.architecture.widths.0"}
    assert (params["architecture.widths.0"], params["sampled.architecture.widths.0"]) == ("16", "40")


def test_a_setting_and_a_config_value_of_the_same_name_are_kept_apart(script):
    script.started("train", seed=3)
    script.asked("t000")
    first, second = told(script)
    assert first.head == second.head
    assert first.params["seed"] == "3"
    assert "seed" not in second.params and second.params["config.seed"] == "7"


@pytest.mark.parametrize(
    ("outcome", "status"), [("completed", "FINISHED"), ("diverged", "FAILED"), ("failed", "FAILED")]
)
def test_a_training_has_the_status_of_its_trial(script, outcome, status):
    script.started("train")
    script.trial("t000", outcome, 1.0)
    script.run_ended(best="t000" if outcome == "completed" else None)
    found = told(script)
    assert last_status(found) == {None: status}
    assert found[-1].tags["outcome"] == outcome
    assert found[-1].with_files == (outcome == "completed")


def test_an_interrupted_training_has_the_status_killed(script):
    script.started("train")
    script.asked("t000")
    script.run_ended("interrupted")
    assert last_status(told(script)) == {None: "KILLED"}


def test_progress_counts_every_ended_trial_and_keeps_the_best(script):
    script.started()
    script.trial("t000", "completed", 1.0)
    script.trial("t001", "failed", epochs=1)
    script.trial("t002", "completed", 1.4)
    progress = [u.figures for u in told(script) if u.head.trial is None and u.figures]
    values = [{figure.key: figure.value for figure in figures} for figures in progress]
    assert [value["best_log_loss"] for value in values] == [1.0, 1.0, 1.0]
    assert [figures[0].step for figures in progress] == [1, 2, 3]


def test_no_mlflow_run_is_left_running_after_the_end(script):
    script.started()
    script.trial("t000", "stopped")
    script.asked("t001")
    script.run_ended("finished")
    assert last_status(told(script)) == {None: "FINISHED", "t000": "FINISHED", "t001": "KILLED"}


def test_a_paused_trial_is_scheduled_until_it_goes_on(script):
    script.started()
    script.asked("t000")
    script.epoch("t000", 1)
    script.say(RungReached(trial="t000", epoch=1, log_loss=2.5, stopped=False, paused=True))
    seen = [(last_status(told(script))["t000"], told(script)[-1].tags["outcome"])]
    script.run_ended("interrupted")
    assert last_status(told(script)) == {None: "KILLED", "t000": "KILLED"}
    note = told(script)[-1].tags["mlflow.note.content"]
    assert "1 paused" in note and "unfinished" not in note
    script.resumed()
    assert last_status(told(script)) == {None: "RUNNING", "t000": "SCHEDULED"}
    script.say(TrialPromoted(trial="t000", epoch=1))
    seen.append((last_status(told(script))["t000"], told(script)[-1].tags["outcome"]))
    assert seen == [("SCHEDULED", "paused"), ("RUNNING", "running")]


def test_a_teacher_is_a_run_of_its_own_kind_and_the_finals_say_who_taught_them(script):
    script.started()
    script.trial("t000", "completed", 1.0)
    script.say(
        TeacherAsked(
            teacher="teacher-seed8",
            trial="t000",
            title="teacher-seed8 w90 512.0 KB",
            seed=8,
            config={"seed": 8},
            size=StoredSize(parameters=1, size_bytes=2, nonzero_parameters=3, nonzero_bytes=524_288, file_bytes=5),
            macs_per_second=6,
            peak_activation_bytes=7,
        )
    )
    script.epoch("teacher-seed8", 1)
    assert last_status(told(script)) == {None: "RUNNING", "t000": "FINISHED", "teacher-seed8": "RUNNING"}
    script.ended("teacher-seed8", "completed", 0.9)
    teachers = (TeacherNetwork(name="t000", kilobytes=61.25), TeacherNetwork(name="teacher-seed8", kilobytes=512.0))
    script.say(
        SoftLabelsMade(teachers=teachers, digest="ab", clips=9),
        FinalAsked(final="t000-seed8", trial="t000", title="w16", seed=8, config={"seed": 8}, soft_labels="ab"),
        FinalAsked(final="t000-seed9", trial="t000", title="w16", seed=9, config={"seed": 9}),
    )
    found = {update.head.trial: update for update in told(script)}
    tags = {"teachers": "t000 (61.2 KB), teacher-seed8 (512.0 KB)", "soft_labels": "ab"}
    assert tags.items() <= found[None].tags.items() and tags.items() <= found["t000-seed8"].tags.items()
    assert not tags.keys() & found["t000-seed9"].tags.keys()
    of_teacher = [update for update in told(script) if update.head.trial == "teacher-seed8"]
    assert {update.head.tags["asc.kind"] for update in of_teacher} == {"teacher"}
    assert of_teacher[0].params["nonzero_bytes"] == "524288"


def test_a_final_is_a_run_of_its_own_kind_and_the_search_has_the_figures_of_the_winner(script):
    script.started()
    script.trial("t000", "completed", 1.0)
    figures = SplitFigures(split="calibration", clips=24, log_loss=1.25, accuracy=0.5)
    script.say(
        FinalistsChosen(trials=("t000",), seeds=(8,), cycles=3, epochs_per_cycle=120),
        FinalAsked(final="t000-seed8", trial="t000", title="t000-seed8 w16", seed=8, config={"seed": 8}),
    )
    script.epoch("t000-seed8", 1)
    script.say(FinalConfirmed(final="t000-seed8", figures=figures))
    assert last_status(told(script)) == {None: "RUNNING", "t000": "FINISHED", "t000-seed8": "RUNNING"}
    script.ended("t000-seed8", "completed", 0.9)
    script.run_ended(best="t000-seed8")
    found = told(script)
    assert last_status(found) == dict.fromkeys((None, "t000", "t000-seed8"), "FINISHED")
    of_final = [update for update in found if update.head.trial == "t000-seed8"]
    assert {(u.head.tags["asc.kind"], u.head.tags["asc.final_of"], u.head.name) for u in of_final} == {
        ("final", "t000", "t000-seed8 w16")
    }
    assert of_final[0].params["seed"] == "8"
    values = {figure.key: figure.value for update in of_final for figure in update.figures}
    assert (values["confirmation_log_loss"], values["confirmation_accuracy"], values["log_loss"]) == (1.25, 0.5, 0.9)
    of_trial = [update for update in found if update.head.trial == "t000"]
    assert {update.head.tags["asc.kind"] for update in of_trial} == {"trial"}
    of_search = [update for update in found if update.head.trial is None]
    assert [u.tags["finalists"] for u in of_search if "finalists" in u.tags] == ["t000"]
    assert {figure.key: figure.value for figure in of_search[-1].figures} == {
        "confirmation_log_loss": 1.25,
        "winners_curse": 0.25,
    }
    steps = [figure.step for u in of_search for figure in u.figures if figure.key == "best_log_loss"]
    assert steps == [1], "a final is no trial"


def test_each_resumption_keeps_its_settings(script):
    script.started()
    for trials in (8, 12):
        script.run_ended("interrupted")
        script.resumed(trials=trials)
    params = {key: value for update in told(script) for key, value in update.params.items()}
    assert (params["resumed.1.trials"], params["resumed.2.trials"]) == ("8", "12")


def test_the_key_of_a_run_needs_no_quoting_and_differs_between_runs_of_one_name(script, tmp_path):
    other = type(script)(tmp_path / 'it\'s a "night"')
    script.started()
    other.started()
    other.journal.close()
    key = run_key(fold(other.journal.entries))
    assert key.startswith("it_s_a__night_-")
    entries = script.journal.entries
    later = fold(entries)
    later.started_at_s += 60
    assert run_key(fold(entries)) != run_key(later)


def test_constants_are_params_and_only_figures_are_metrics(script):
    script.started()
    script.trial("t000", "completed", 1.0)
    of_trial = [update for update in told(script) if update.head.trial == "t000"]
    params = {key: value for update in of_trial for key, value in update.params.items()}
    assert (params["nonzero_bytes"], params["macs_per_second"], params["epochs"]) == ("80128", "12000000", "3")
    assert {figure.key for update in of_trial for figure in update.figures if "/" not in figure.key} == {
        "log_loss",
        "accuracy",
    }


def test_the_duration_of_a_trial_is_that_of_its_training(script):
    script.started()
    script.trial("t000", "completed", 1.0)
    (ended,) = [update for update in told(script) if update.end_ms is not None]
    assert ended.end_ms is not None and ended.end_ms - ended.head.start_ms == 9500


def test_every_run_of_a_search_names_it(script):
    script.started()
    script.trial("t000", "completed", 1.0)
    assert {update.head.tags["search"] for update in told(script)} == {"night"}


@pytest.mark.parametrize(
    ("value", "said"), [(0.7234567, 0.7235), (9.5, 9.5), (0.00123456, 0.001235), (0.0, 0.0), (-1.23456, -1.2346)]
)
def test_figures_are_rounded_for_tables_that_show_every_digit(value, said):
    assert rounded(value) == said
    assert math.isnan(rounded(math.nan)) and rounded(math.inf) == math.inf
