"""What is printed and saved of finalists: a table for 80 columns, a sentence, and columns of the leaderboards."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from asc.config.space import Space
from asc.runs.events import Event, TrialEnded
from asc.runs.finals import Finals, finals_of
from asc.runs.journal import Journal
from asc.runs.record import RunRecord, fold
from asc.search.finalists import finals_json, sentence, table
from asc.search.leaderboard import leaderboard, write
from asc.size.rules import rule

Written = Callable[[Sequence[Event]], RunRecord]


@pytest.fixture
def written(journal: Callable[[], Journal]) -> Written:
    """Writes the journal of the story and these events, and folds it."""

    def folded(events: Sequence[Event]) -> RunRecord:
        opened = journal()
        for event in events:
            opened.append(event)
        return fold(opened.entries)

    return folded


def found(record: RunRecord) -> Finals:
    finals = finals_of(record)
    assert finals is not None
    return finals


def test_the_table_fits_80_columns_and_shows_search_confirmation_and_curse(
    written: Written, finals: list[Event]
) -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table(found(written(finals))))
    text = capture.get()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    rows = [line.split() for line in text.splitlines() if line.strip().startswith(("1 ", "2 "))]
    assert rows == [
        ["1", "t000", "2/2", "1.200", "0.950", "1.300", "±", "0.141", "50.0%", "+0.100"],
        ["2", "t001", "2/2", "0.900", "0.900", "1.500", "±", "0.141", "50.0%", "+0.600"],
    ]
    assert "3 x 120 epochs with 2 seeds" in " ".join(text.split())
    assert "24 calibration clips that the search did not use" in " ".join(text.split())


def test_the_sentence_names_the_winner_its_curse_and_the_seed_that_is_saved(
    written: Written, finals: list[Event]
) -> None:
    assert sentence(found(written(finals))) == (
        "winner t000: log loss 1.200 in the search, 1.300 ± 0.141 on confirmation: winner's curse (the difference) "
        "+0.100; saved is the seed with the lowest log loss on validation, 1 (0.900)"
    )


def test_the_sentence_says_which_finals_were_lost_and_why(written: Written, finals: list[Event]) -> None:
    place = max(n for n, event in enumerate(finals) if isinstance(event, TrialEnded))
    lost = replace(finals[place], outcome="failed", reason="its worker died", log_loss=None)  # type: ignore[type-var]
    events = [lost if n == place else event for n, event in enumerate(finals)]
    assert sentence(found(written(events))).endswith("; 1 of 4 finals were not trained to their end (its worker died)")


def test_finals_that_are_not_all_trained_have_no_rank_and_say_so(written: Written, finals: list[Event]) -> None:
    unfinished = found(written(finals[:-2]))
    assert sentence(unfinished) == "3 of 4 finals are trained, so the best is still that of the search"
    assert [row["rank"] for row in finals_json(unfinished)] == [None, None]
    Console(width=80, quiet=True).print(table(unfinished))
    assert finals_json(None) == []


def test_the_leaderboards_have_the_finals_of_finalists_only(
    written: Written, finals: list[Event], idlab128: Space, tmp_path: Path
) -> None:
    rows = leaderboard(written(finals), idlab128, rule("dcase2021"))
    assert [(row.rank, row.trial) for row in rows[:2]] == [(1, "t001"), (2, "t000")], "ranked as the search ranked them"
    write(rows, tmp_path)
    listed = {row["trial"]: row for row in csv.DictReader((tmp_path / "leaderboard.csv").open())}
    assert (listed["t000"]["final_rank"], listed["t001"]["final_rank"], listed["t002"]["final_rank"]) == ("1", "2", "")
    assert float(listed["t001"]["final_winners_curse"]) == pytest.approx(0.6)
    assert "final_seeds" not in listed["t000"] and listed["t000"]["final_trained"] == "2"
    saved = {row["trial"]: row for row in json.loads((tmp_path / "leaderboard.json").read_text())}
    assert [seed["final"] for seed in saved["t000"]["final"]["seeds"]] == ["t000-seed1", "t000-seed2"]
    assert "final" not in saved["t002"]
