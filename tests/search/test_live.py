"""A line for each ended trial and, in a terminal, a live line; both are made from the journal."""

import io
from collections.abc import Callable

from rich.console import Console

from asc.runs.journal import Event, Journal, RunStarted, add, fold
from asc.search.live import LiveView
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


def test_the_live_line_shows_progress_the_best_trial_and_the_time_left(
    journal: Callable[[], Journal], story: list[Event], settings: SearchSettings
) -> None:
    text, _ = watched(journal, story, settings, terminal=True)
    assert "5 of 6 trials" in text
    assert "best t001: log loss 0.900, accuracy 75.0%, 16.0 KB" in text and "left" in text
