"""Advice follows from what happened, and its commands are those of the launch scripts."""

from pathlib import Path

from told_search import ToldSearch

from asc.report.advice import Advice, advice
from asc.report.from_journal import search_of
from asc.report.importance import Importance
from asc.results import Interval
from asc.runs.events import RunEnded

INSIDE = {
    "architecture.widths.0": 20,
    "architecture.widths.1": 40,
    "architecture.cardinality": 1,
    "schedule.learning_rate_max": 0.003,
    "compression.prune_ratio": 0.0,
}


def given(told: ToldSearch, found: Importance | None = None, interval: Interval | None = None) -> list[Advice]:
    return advice(search_of(told.entries), found, interval, told.folder)


def test_a_small_search_is_told_to_go_on_with_twice_the_trials(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    told.trial(1.5, reference=True)
    told.trial(0.9, point=INSIDE)
    first, *_ = given(told)
    assert first.command == f"python launch/search.py --resume s --storage {tmp_path}", "it has not ended"
    told.journal.append(RunEnded(outcome="finished", best="t001"))
    first, *_, last = given(told)
    assert first.text.startswith("Only 2 trials completed")
    assert first.command == f"python launch/search.py --resume s --trials 4 --storage {tmp_path}"
    assert last.command is not None and f"--config {tmp_path}/s/best/config.toml --data synthetic" in last.command


def test_a_search_that_still_improved_at_its_end_is_told_so(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    for number in range(12):
        told.trial(1.5 - number / 100, point=INSIDE if number == 11 else None)
    told.journal.append(RunEnded(outcome="finished", best="t011"))
    assert given(told)[0].text.startswith("The best network was found in the last third")


def test_a_network_that_was_still_learning_or_near_chance_should_train_longer(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    told.trial(2.2, accuracy=0.15, point=INSIDE)
    texts = " ".join(one.text for one in given(told))
    assert "(log loss 2.800 to 2.200)" in texts, "the ends of its two cycles"
    assert "near chance: train longer (--epochs-per-cycle)" in texts


def test_edges_unused_budget_and_important_parameters_lead_to_another_space(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    told.trial(1.0, point={**INSIDE, "architecture.widths.0": 4, "architecture.widths.1": 8})
    shares = {"a": 0.5, "b": 0.3, "c": 0.1, "d": 0.1}
    texts = [one.text for one in given(told, Importance(shares=shares, trials=20, best_share=0.25))]
    assert "Widen the range of architecture.widths.0, architecture.widths.1 in the space: the best value" in texts[2]
    assert texts[3].startswith("The best network takes ") and "of 128 KB" in texts[3]
    assert texts[4].startswith("a, b, c make up 90% of the importance")


def test_a_much_smaller_network_within_the_noise_is_pointed_out(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    told.trial(1.0, point=INSIDE)
    told.trial(1.05, point={**INSIDE, "architecture.widths.0": 8, "architecture.widths.1": 16})
    texts = [one.text for one in given(told, interval=Interval(low=0.9, high=1.1))]
    assert any(text.startswith("t001 takes ") and "may do as well" in text for text in texts)
    assert not any(text.startswith("t001") for text in (one.text for one in given(told)))


def test_many_diverged_trials_ask_for_a_smaller_learning_rate(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    told.trial(1.0, point=INSIDE)
    told.trial(9.0, outcome="diverged")
    assert any("learning_rate_max smaller" in one.text for one in given(told))


def test_a_final_that_is_saved_needs_no_full_schedule_and_is_what_advice_is_about(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    best = told.trial(1.0, point=INSIDE)
    small = told.trial(1.05, point={**INSIDE, "architecture.widths.0": 4, "architecture.widths.1": 8})
    told.chosen(best, small)
    told.final(best, 0.9, unseen=1.2)
    assert any("full schedule" in one.text for one in given(told)), "the search's best is saved until all have ended"
    told.journal.append(RunEnded(outcome="finished", best=told.final(small, 0.95, unseen=1.1)))
    texts = " ".join(one.text for one in given(told, interval=Interval(low=0.9, high=1.1)))
    assert "full schedule" not in texts and "may do as well" not in texts and "still learning" not in texts
    assert "Widen the range of architecture.widths.0, architecture.widths.1" in texts
