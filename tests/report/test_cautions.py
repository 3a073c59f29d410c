"""Cautions appear where there is reason to doubt, with the journal's numbers, and only there."""

import math
from pathlib import Path
from typing import Any

import pytest
from told_search import ToldSearch

from asc.report.cautions import cautions, edges, of_the_best
from asc.report.from_journal import search_of
from asc.report.trials import Search
from asc.results import Interval
from asc.runs.events import RunEnded, SoftLabelsMade

INSIDE = {
    "architecture.widths.0": 12,
    "architecture.widths.1": 24,
    "schedule.learning_rate_max": 0.003,
    "compression.prune_ratio": 0.0,
}


def said(told: ToldSearch) -> list[str]:
    search = ended(told)
    return cautions(search, None if search.best is None else search.best.log_loss_interval)


def ended(told: ToldSearch, ending: Any = "finished") -> Search:
    told.journal.append(RunEnded(outcome=ending, best=None))
    return search_of(told.entries)


@pytest.fixture
def told(tmp_path: Path) -> ToldSearch:
    return ToldSearch(tmp_path / "s")


def test_a_clear_best_network_needs_no_caution(told: ToldSearch) -> None:
    told.trial(1.5, accuracy=0.5, reference=True)
    told.trial(0.9, accuracy=0.7, point=INSIDE)
    assert said(told) == []


def test_a_network_near_chance_is_called_so(told: ToldSearch) -> None:
    told.trial(2.4, accuracy=0.12, reference=True)
    told.trial(2.25, accuracy=0.15, point=INSIDE, width=0.01)
    (sentence,) = said(told)
    assert f"log loss 2.250 and accuracy 15.0%, where guessing among 10 classes gives {math.log(10):.3f}" in sentence
    assert "--epochs-per-cycle" in sentence
    told.trial(1.0, accuracy=0.15, point=INSIDE, width=0.01)
    assert any("near chance" in sentence for sentence in said(told)), "its accuracy alone is near chance"


def test_teachers_that_are_often_wrong_about_the_training_clips_are_doubted(told: ToldSearch) -> None:
    told.trial(1.5, accuracy=0.5, reference=True)
    told.trial(0.9, accuracy=0.7, point=INSIDE)
    told.journal.append(SoftLabelsMade(teachers=(), digest="ab", clips=9, share_right=0.91))
    assert of_the_best(search_of(told.entries), None) == []
    told.journal.append(SoftLabelsMade(teachers=(), digest="ab", clips=9, share_right=0.79))
    (sentence,) = of_the_best(search_of(told.entries), None)
    assert sentence.startswith("The teachers give the right label of 79% of the training clips only")
    assert "--teacher-kb" in sentence and "--teacher-logits" in sentence


def test_an_accuracy_that_fell_is_said_with_a_better_log_loss(told: ToldSearch) -> None:
    told.trial(1.482, accuracy=0.40, reference=True)
    told.trial(1.071, accuracy=0.24, point=INSIDE)
    (sentence,) = said(told)
    assert of_the_best(search_of(told.entries), None) == [], "a search says it where it says what it gained"
    assert sentence == (
        "The log loss fell from 1.482 to 1.071, but the accuracy fell too: from 40.0% (the reference) to 24.0%."
    )


def test_trials_within_the_interval_of_the_best_may_be_better(told: ToldSearch) -> None:
    told.trial(1.05, accuracy=0.5, reference=True)
    told.trial(1.0, accuracy=0.6, point=INSIDE)
    told.trial(1.09, accuracy=0.6)
    told.trial(1.2, accuracy=0.6)
    sentences = said(told)
    assert len(sentences) == 2
    assert sentences[0].startswith("The reference (1.050) lies within the 95 % interval of the best log loss (0.900 to")
    assert "more data" in sentences[0] and "--trials" in sentences[0]
    assert sentences[1].startswith("2 other trials (t000, t002) lie within the 95 % interval")


def test_a_search_that_ranks_by_accuracy_doubts_by_it(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s", rank_by="accuracy")
    told.trial(1.0, accuracy=0.58, reference=True)
    told.trial(1.2, accuracy=0.6, point=INSIDE, width=0.05)
    told.trial(0.9, accuracy=0.3)
    search = ended(told)
    assert search.best is not None and search.best.name == "t001" and search.best.accuracy_interval is not None
    sentences = cautions(search, search.best.accuracy_interval)
    assert sentences[0] == (
        "The accuracy rose from 58.0% to 60.0%, but the log loss rose too: from 1.000 (the reference) to 1.200."
    )
    assert sentences[1].startswith("The reference (58.0%) lies within the 95 % interval of the best accuracy (")
    assert sentences[2].startswith("1 other trial (t000) lies within the 95 % interval of the best accuracy")


def test_values_at_the_ends_of_their_ranges_are_named_but_not_zero(told: ToldSearch) -> None:
    told.trial(1.5, accuracy=0.5, reference=True)
    at_the_ends = {"architecture.widths.0": 24, "schedule.learning_rate_max": 0.001}
    told.trial(0.9, accuracy=0.7, point={**INSIDE, **at_the_ends})
    search = ended(told)
    assert search.best is not None
    assert dict(edges(search, search.best)) == {
        "architecture.widths.0": "24 (the range ends at 24)",
        "schedule.learning_rate_max": "0.001 (the range begins at 0.001)",
    }
    assert "architecture.widths.0 24 (the range ends at 24)" in cautions(search, None)[0]


def test_a_file_over_the_budget_is_named_with_both_sizes(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s", budget_kb=16.0)
    told.trial(1.5, accuracy=0.5, reference=True)
    told.trial(0.9, accuracy=0.7, point={**INSIDE, "compression.prune_ratio": 0.5})
    search = ended(told)
    best = search.best
    assert best is not None and best.counted_bytes <= 16 * 1024 < best.file_bytes
    (sentence,) = [one for one in cautions(search, None) if "--rule file" in one]
    assert f"counts {best.counted_bytes:,} bytes" in sentence and f"has {best.file_bytes:,}" in sentence


@pytest.mark.parametrize(("ending", "word"), [("interrupted", "was interrupted"), (None, "has not ended")])
def test_a_search_that_is_not_finished_is_called_so(told: ToldSearch, ending: str | None, word: str) -> None:
    told.trial(1.5, accuracy=0.5, reference=True)
    told.trial(0.9, accuracy=0.7, point=INSIDE)
    search = search_of(told.entries) if ending is None else ended(told, ending)
    (sentence,) = cautions(search, Interval(low=0.89, high=0.91))
    assert word in sentence


def test_without_a_completed_trial_the_last_reason_is_given(told: ToldSearch) -> None:
    assert said(told)[0] == "No trial has begun."
    told.trial(9.0, outcome="diverged")
    sentences = said(told)
    assert sentences[0] == "No trial has completed, so there is no best network. The last reason: it diverged."
    assert sentences[1] == "1 of 1 ended trials diverged."


def test_with_finals_the_saved_network_is_judged_and_the_search_named_as_such(told: ToldSearch) -> None:
    told.trial(1.05, accuracy=0.62, reference=True)
    best, other = told.trial(1.0, point=INSIDE), told.trial(1.09, point={**INSIDE, "architecture.widths.0": 24})
    told.chosen(best, other)
    assert any("lies within the 95 % interval" in one for one in said(told))
    told.final(best, 0.9, unseen=1.2)
    told.final(other, 2.25, unseen=1.1, accuracy=0.12)
    chance, edge = of_the_best(search_of(told.entries), Interval(low=0.9, high=1.1))
    assert "near chance: log loss 2.250 and accuracy 12.0%" in chance
    assert "architecture.widths.0 24 (the range ends at 24)" in edge
    (fell,) = [one for one in said(told) if "accuracy fell" in one]
    assert fell.startswith("The log loss fell in the search from 1.050 to 1.000")
