"""A line for each ended trial and, in a terminal, a live line; both are made from the journal."""

import dataclasses
import io
from collections.abc import Callable

import pytest
from rich.console import Console

from asc.config.experiment import Experiment
from asc.results import TeacherNetwork
from asc.runs.events import (
    Event,
    FinalistsChosen,
    RungReached,
    RunStarted,
    SoftLabelsMade,
    TeacherAsked,
    TrialAsked,
    TrialEnded,
    TrialPromoted,
)
from asc.runs.journal import Journal
from asc.runs.record import add, fold
from asc.search.live import LiveView
from asc.search.live_trials import running_lines
from asc.search.rungs import rungs_of
from asc.search.settings import SearchSettings
from asc.size.rules import rule


def watched(
    journal: Callable[[], Journal], story: list[Event], settings: SearchSettings, *, terminal: bool
) -> tuple[str, LiveView]:
    whole = journal()
    record = fold(whole.entries[:1])
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, highlight=False)
    with LiveView(console, record, settings, rule("dcase2021")) as view:
        for entry in whole.entries[1:]:
            add(record, entry)
            view.heard(entry)
        console.print(view._view())
    assert isinstance(story[0], RunStarted)
    return out.getvalue(), view


def test_one_line_for_each_finished_trial(
    journal: Callable[[], Journal], story: list[Event], settings: SearchSettings
) -> None:
    text, _ = watched(journal, story, settings, terminal=False)
    lines = [line for line in text.splitlines() if line.startswith("[")]
    assert len(lines) == 5
    assert lines[0].startswith("[1/6] t000 w24: log loss 1.200, accuracy 75.0%, 4 s (best t000")
    assert "best t001: log loss 0.900, accuracy 75.0%, 16.0 KB" in lines[1]
    assert "stopped after epoch 1 at log loss 2.000" in lines[2]
    assert "diverged, why" in lines[3] and "failed, why" in lines[4]
    assert "\x1b" not in text, "output that is not a terminal gets plain lines"


def test_each_running_trial_has_a_line_and_a_time_is_left_from_the_start(
    journal: Callable[[], Journal], settings: SearchSettings
) -> None:
    whole = journal()
    record = fold(whole.entries[:1])
    console = Console(file=io.StringIO(), force_terminal=True, width=120, highlight=False)
    view = LiveView(console, record, settings, rule("dcase2021"), expected_s=7200.0)
    assert "about 2 h 00 min left" in view._time_left() or "about 1 h 59 min" in view._time_left()
    assert LiveView(console, record, settings, rule("dcase2021"))._time_left() == "time left: not known yet"
    for entry in whole.entries[1:]:
        add(record, entry)
    (line,) = running_lines(record)
    with console.capture() as capture:
        console.print(view._view())
    assert line in capture.get()


def test_on_request_each_epoch_has_a_line(journal: Callable[[], Journal], settings: SearchSettings) -> None:
    whole = journal()
    record, out = fold(whole.entries[:1]), io.StringIO()
    console = Console(file=out, width=120, highlight=False)
    view = LiveView(console, record, settings, rule("dcase2021"))
    for entry in whole.entries[1:]:
        add(record, entry)
        view.epoch_heard(entry)
    lines = [line for line in out.getvalue().splitlines() if ": cycle " in line]
    assert len(lines) == sum(len(trial.epochs) for trial in record.trials.values())
    assert any("t002 w8: cycle 1 of 3, epoch 2 of 360, log loss 2.000" in line for line in lines)


@pytest.fixture
def finished(settings: SearchSettings, story: list[Event], finals: list[Event]) -> SearchSettings:
    """Settings with finals; the story ends with them."""
    story += finals
    return dataclasses.replace(settings, final_top=2, final_seeds=2, final_cycles=3, final_epochs=120)


def test_the_live_line_counts_finals_apart_from_trials(
    journal: Callable[[], Journal], story: list[Event], finished: SearchSettings
) -> None:
    assert "5 of 6 trials, 4 of 4 finals" in watched(journal, story, finished, terminal=True)[0]


def test_one_line_for_each_final(journal: Callable[[], Journal], story: list[Event], finished: SearchSettings) -> None:
    text, _ = watched(journal, story, finished, terminal=False)
    assert "finalists, best first: t001, t000" in text and "        t001-seed1 w1 begins" in text
    lines = [line for line in text.splitlines() if line.startswith("[final")]
    assert len(lines) == 4
    assert lines[0].startswith("[final 1/4] t001-seed1 w1: calibration log loss 1.400, accuracy 50.0%, 4 s (")


def test_teachers_and_their_soft_labels_have_lines(
    journal: Callable[[], Journal], story: list[Event], finished: SearchSettings
) -> None:
    chosen = next(n for n, event in enumerate(story) if isinstance(event, FinalistsChosen))
    trial = next(event for event in story if isinstance(event, TrialAsked) and event.trial == "t001")
    ended = next(event for event in story if isinstance(event, TrialEnded) and event.trial == "t001")
    teacher = TeacherAsked(
        teacher="teacher-seed1",
        trial="t001",
        title="teacher-seed1 w90 512.0 KB",
        seed=1,
        config=trial.config,
        size=trial.predicted,
        macs_per_second=1,
        peak_activation_bytes=1,
    )
    made = SoftLabelsMade(
        teachers=(TeacherNetwork(name="t001", kilobytes=16.0),), digest="ab", clips=9, share_right=2 / 3
    )
    story[chosen + 1 : chosen + 1] = [teacher, dataclasses.replace(ended, trial="teacher-seed1"), made]
    taught = dataclasses.replace(finished, distil=True, teacher_kb=512.0)
    text, _ = watched(journal, story, taught, terminal=False)
    assert "        teacher-seed1 w90 512.0 KB begins" in text
    assert "        teacher-seed1 w90 512.0 KB: log loss 0.900, 4 s" in text
    assert "        9 clips have soft labels of t001 (16.0 KB), right about 67% of them" in text


@pytest.fixture
def pausing(settings: SearchSettings, story: list[Event]) -> SearchSettings:
    """Settings by promotion; the stopped trial of the story was paused, and the unfinished one is or was."""
    paused = next(n for n, event in enumerate(story) if isinstance(event, RungReached))
    story[paused] = RungReached(trial="t002", epoch=1, log_loss=2.0, stopped=False, paused=True)
    story.append(RungReached(trial="t005", epoch=1, log_loss=1.9, stopped=False, paused=True))
    return dataclasses.replace(settings, asha="promotion")


def test_a_trial_has_a_line_when_it_pauses_and_goes_on_but_none_when_it_is_stopped_in_the_end(
    journal: Callable[[], Journal], story: list[Event], pausing: SearchSettings
) -> None:
    story.append(TrialPromoted(trial="t005", epoch=1))
    every = watched(journal, story, pausing, terminal=False)[0].splitlines()
    lines = [line for line in every if ": cycle " not in line]  # without those of the view
    assert [line.partition(" (")[0].strip() for line in lines if "t002" in line or "t005" in line] == [
        "t002 w8 begins",
        "t002 w8: paused after epoch 1 at log loss 2.000",
        "t005 w28 begins",
        "t005 w28: paused after epoch 1 at log loss 1.900",
        "t005 w28 goes on after epoch 1",
    ]


def test_the_live_line_counts_paused_trials_and_its_bar_the_epochs_that_are_planned(
    journal: Callable[[], Journal], story: list[Event], pausing: SearchSettings
) -> None:
    text, view = watched(journal, story, pausing, terminal=True)
    assert "6 of 6 trials begun, 1 paused" in text
    (bar,) = view._progress.tasks
    assert isinstance(story[1], TrialAsked)
    schedule = Experiment.from_flat(story[1].config).schedule
    planned = rungs_of(schedule, 2).planned_epochs(6, schedule.epochs)
    assert bar.total == pytest.approx(planned / schedule.epochs) and bar.total < 6
    assert bar.completed == pytest.approx(4 / schedule.epochs), "four trials have an epoch each"


def test_the_live_line_shows_progress_the_best_trial_and_the_time_left(
    journal: Callable[[], Journal], story: list[Event], settings: SearchSettings
) -> None:
    text, _ = watched(journal, story, settings, terminal=True)
    assert "5 of 6 trials" in text
    assert "best t001: log loss 0.900, accuracy 75.0%, 16.0 KB" in text and "left" in text
    assert "(best" not in text, "the lines of trials do not repeat it"
