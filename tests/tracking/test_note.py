"""The note of a run in MLflow."""

import dataclasses
from pathlib import Path

from asc.results import SplitFigures
from asc.runs.events import FinalAsked, FinalConfirmed, FinalistsChosen
from asc.runs.record import fold
from asc.tracking.note import note

FOLDER = Path("runs/night")


def test_it_gives_the_progress_the_best_trials_and_the_next_commands(script):
    script.started()
    script.trial("t000", "completed", 1.25)
    script.trial("t001", "completed", 0.75)
    script.trial("t002", "stopped")
    script.asked("t003")
    text = note(fold(script.journal.entries), FOLDER)
    assert "4 trials: 2 completed, 1 stopped, 1 unfinished." in text
    assert text.index("| t001 w16-32 c4 78.3 KB | 0.750 | 70.0% | 80,128 | 12.0 |") < text.index("| t000 ")
    assert "python launch/search.py --resume night" in text
    assert "python launch/evaluate.py runs/night/best/model.safetensors --split test" in text
    assert "[ranges]" in text


def test_the_finalists_are_listed_once_a_final_is_trained(script):
    script.started()
    script.trial("t000", "completed", 1.25)
    script.trial("t001", "completed", 1.5)
    script.say(FinalistsChosen(trials=("t000", "t001"), seeds=(8,), cycles=3, epochs_per_cycle=120))
    assert "finalist" not in note(fold(script.journal.entries), FOLDER)
    for trial, log_loss in (("t000", 2.0), ("t001", 1.75)):
        name = f"{trial}-seed8"
        figures = SplitFigures(split="calibration", clips=24, log_loss=log_loss, accuracy=0.5)
        script.say(FinalAsked(final=name, trial=trial, title=name, seed=8, config={"seed": 8}))
        script.say(FinalConfirmed(final=name, figures=figures))
        script.ended(name, "completed", 1.0)
    text = note(fold(script.journal.entries), FOLDER)
    assert "| finalist | search | confirmation | curse |" in text
    assert text.index("| t001 w16-32 c4 78.3 KB | 1.500 | 1.750 | +0.250 |") < text.index(
        "| t000 w16-32 c4 78.3 KB | 1.250 | 2.000 | +0.750 |"
    )
    unfinished = note(fold(script.journal.entries[:-1]), FOLDER)
    assert "| finalist (not all are trained yet) |" in unfinished and "+0.250" not in unfinished


def test_no_test_command_is_given_before_a_trial_is_complete(script):
    script.started()
    text = note(fold(script.journal.entries), FOLDER)
    assert "No trial is complete yet." in text and "evaluate.py" not in text


def test_optimistic_figures_are_marked_and_a_final_model_has_no_test_command(script):
    script.started()
    script.trial("t000", "completed", 1.25)
    record = fold(script.journal.entries)
    best = record.trials["t000"]
    best.ended = dataclasses.replace(best.ended, optimistic=True)
    assert "c4 78.3 KB (optimistic) | 1.250" in note(record, FOLDER)
    best.ended = dataclasses.replace(best.ended, optimistic=False)
    record.started = dataclasses.replace(record.started, settings={"part": "all"})
    text = note(record, FOLDER)
    assert "(clips that were trained on) | 1.250" in text
    assert "evaluate.py" not in text and "then test the best" not in text


def test_a_long_space_fits_into_a_tag(script):
    script.started()
    record = fold(script.journal.entries)
    long = type(record.started)(name="night", kind="search", settings={}, space="x = 1\n" * 5000)
    record.started = long
    assert len(note(record, FOLDER)) < 5000
