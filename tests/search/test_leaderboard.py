"""The leaderboard is made from the journal alone, has no times, and ranks only completed trials."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from asc.config.space import Space
from asc.results import Interval
from asc.runs.events import Event, RungReached, TrialAsked, TrialEnded
from asc.runs.journal import Journal
from asc.runs.record import fold
from asc.search.leaderboard import leaderboard, table, write
from asc.size.rules import rule


def test_completed_trials_are_ranked_and_the_others_follow(journal: Callable[[], Journal], idlab128: Space) -> None:
    rows = leaderboard(fold(journal().entries), idlab128, rule("dcase2021"))
    assert [(row.rank, row.trial, row.outcome) for row in rows] == [
        (1, "t001", "completed"),
        (2, "t000", "completed"),
        (None, "t005", "unfinished"),
        (None, "t002", "stopped"),
        (None, "t003", "diverged"),
        (None, "t004", "failed"),
    ]
    assert rows[0].log_loss == 0.9 and rows[0].accuracy == 0.75 and rows[0].counted_bytes == 7
    assert rows[3].log_loss == 2.0, "a stopped trial shows the log loss of its last epoch"
    assert rows[1].reference and not rows[0].reference
    assert rows[0].calibrated is None and rows[0].config["calibration.method"] == "none"


def test_completed_trials_have_intervals_if_the_journal_has_them(
    journal: Callable[[], Journal], story: list[Event], idlab128: Space
) -> None:
    place = next(n for n, event in enumerate(story) if isinstance(event, TrialEnded) and event.trial == "t001")
    intervals = {"log_loss_interval": Interval(low=0.8, high=1.0), "accuracy_interval": Interval(low=0.7, high=0.8)}
    story[place] = dataclasses.replace(story[place], **intervals)  # type: ignore[type-var]
    rows = leaderboard(fold(journal().entries), idlab128, rule("dcase2021"))
    assert (rows[0].log_loss_low, rows[0].log_loss_high, rows[0].accuracy_low, rows[0].accuracy_high) == (
        *(0.8, 1.0),
        *(0.7, 0.8),
    )
    assert all(row.log_loss_low is None for row in rows[1:])
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table(rows))
    first = next(line for line in capture.get().splitlines() if "t001" in line)
    assert "0.900 0.80-1.00 75.0% 70-80%" in first and len(first) <= 80


def test_the_files_list_every_trial_and_no_times(
    journal: Callable[[], Journal], idlab128: Space, tmp_path: Path
) -> None:
    rows = leaderboard(fold(journal().entries), idlab128, rule("dcase2021"))
    write(rows, tmp_path)
    listed = list(csv.DictReader((tmp_path / "leaderboard.csv").open()))
    assert [row["trial"] for row in listed] == [row.trial for row in rows]
    assert listed[0]["architecture.widths.0"] == "16" and listed[0]["architecture.time_strides.0"] == "2"
    assert not any("second" in key and key != "macs_per_second" for key in listed[0])
    assert json.loads((tmp_path / "leaderboard.json").read_text())[0]["config"]["architecture.widths.1"] == 32


def test_the_table_fits_80_columns(journal: Callable[[], Journal], story: list[Event], idlab128: Space) -> None:
    story.append(RungReached(trial="t005", epoch=1, log_loss=1.9, stopped=False, paused=True))
    place = next(n for n, event in enumerate(story) if isinstance(event, TrialAsked) and event.trial == "t001")
    story[place] = dataclasses.replace(story[place], earlier="night/t009")  # type: ignore[call-arg]
    console = Console(width=80, record=True, quiet=True)
    console.quiet = False
    with console.capture() as capture:
        console.print(table(leaderboard(fold(journal().entries), idlab128, rule("dcase2021"))))
    text = capture.get()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    assert "t000 ref." in text and "16-32" in text and "75.0%" in text
    assert "t001 warm" in text and "paused @1" in text and "stopped @1" in text


@pytest.mark.parametrize("budgets", [(None, None), (128.0, 16.0), (1024.0, 0.125)])
def test_no_figure_of_a_wide_row_is_cut(
    journal: Callable[[], Journal], idlab128: Space, budgets: tuple[float | None, float | None]
) -> None:
    rows = leaderboard(fold(journal().entries), idlab128, rule("dcase2021"))
    config = {**rows[0].config, "compression.prune_ratio": 0.5}
    wide = dataclasses.replace(
        rows[0], reference=True, accuracy_low=0.69, accuracy_high=1.0, counted_bytes=118_680, config=config
    )
    stopped = dataclasses.replace(rows[-1], outcome="stopped", epochs=10)
    wide, stopped = (
        dataclasses.replace(row, budget_kb=budget, log_loss=1.234, log_loss_low=1.1, log_loss_high=1.4)
        for row, budget in zip((wide, stopped), budgets, strict=True)
    )
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table([wide, stopped]))
    text = capture.get()
    assert "118,680" in text and "stopped @10" in text and "weights" in text and "…" not in text
    if budgets == (None, None):
        assert "69-100%" in text
    else:
        assert all(f"{budget:g}" in text for budget in budgets)
