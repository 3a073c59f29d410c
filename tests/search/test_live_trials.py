"""The live view's lines for what is trained: where each trial is, and not those that are paused or have ended."""

import dataclasses
from pathlib import Path

from told_search import EPOCHS, EPOCHS_PER_CYCLE, ToldSearch

from asc.runs.events import EpochDone
from asc.runs.journal import Entry
from asc.runs.record import add, fold
from asc.search.live_trials import running_lines
from asc.training_results import EpochMetrics


def test_a_line_says_cycle_epoch_and_last_log_loss(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    told.trial(1.0)
    running, other = told.trial(1.5, outcome=None), told.trial(1.25, outcome=None)
    record = fold(told.entries)
    title = record.trials[running].asked.title
    first, second = running_lines(record)
    assert first == f"  {title}: cycle 1 of 2, epoch 3 of {EPOCHS}, log loss 1.500"
    assert record.trials[other].asked.title in second and second.endswith("log loss 1.250")
    metrics = EpochMetrics(
        epoch=EPOCHS_PER_CYCLE, learning_rate=0.1, train_loss=1.0, valid_log_loss=0.5, valid_accuracy=0.5, seconds=1.0
    )
    done = EpochDone(trial=running, metrics=metrics, checkpoint="last.safetensors")
    add(record, Entry(time_s=0.0, event=done, end_offset=0))
    assert running_lines(record)[0].endswith(f"cycle 2 of 2, epoch {EPOCHS_PER_CYCLE + 1} of {EPOCHS}, log loss 0.500")
    last = dataclasses.replace(done, metrics=dataclasses.replace(metrics, epoch=EPOCHS))
    add(record, Entry(time_s=0.0, event=last, end_offset=0))
    assert f"epoch {EPOCHS} of {EPOCHS}" in running_lines(record)[0], (
        "its last epoch is done, its network not yet stored"
    )
    assert running_lines(record, most=1)[1] == "  and 1 more"


def test_paused_trials_and_ended_finals_have_none_and_finals_have_one(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    name = told.trial(1.0)
    paused = told.trial(1.5, outcome=None)
    told.chosen(name)
    record = fold(told.entries)
    record.trials[paused].paused_at = 2
    assert running_lines(record) == []
