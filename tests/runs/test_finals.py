"""What finals have found: means over seeds, the winner's curse, the winner, and which seed of it is shipped."""

from dataclasses import replace
from pathlib import Path

import pytest

from asc.results import SplitFigures
from asc.runs.events import Event, FinalAsked, FinalConfirmed, FinalistsChosen, RunStarted, TrialAsked, TrialEnded
from asc.runs.finals import Finals, finals_of
from asc.runs.journal import Journal
from asc.runs.record import fold

CHOSEN = FinalistsChosen(trials=("t000", "t001"), seeds=(1, 2), cycles=2, epochs_per_cycle=3)


def asked(trial: str) -> TrialAsked:
    sizes = ("parameters", "size_bytes", "nonzero_parameters", "nonzero_bytes", "file_bytes", "macs_per_second")
    counts = dict.fromkeys((*sizes, "peak_activation_bytes"), 1)
    return TrialAsked(trial=trial, title=trial, point=None, config={}, repaired=False, **counts)


def ended(trial: str, log_loss: float, accuracy: float = 0.5) -> TrialEnded:
    return TrialEnded(trial=trial, outcome="completed", epochs=6, seconds=1.0, log_loss=log_loss, accuracy=accuracy)


def final(trial: str, seed: int, valid: float, confirmed: float) -> list[Event]:
    """The events of a final that is trained to its end."""
    name = f"{trial}-seed{seed}"
    figures = SplitFigures(split="calibration", clips=24, log_loss=confirmed, accuracy=0.25 * seed)
    begun = FinalAsked(final=name, trial=trial, title=name, seed=seed, config={"seed": seed})
    return [begun, FinalConfirmed(final=name, figures=figures), ended(name, valid)]


def failed(trial: str, seed: int) -> list[Event]:
    begun, *_ = final(trial, seed, 0.0, 0.0)
    name = f"{trial}-seed{seed}"
    return [begun, TrialEnded(trial=name, outcome="failed", epochs=0, seconds=0.0, reason="its worker died")]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A search of two trials, t000 the better one."""
    opened = Journal(tmp_path / "journal.jsonl")
    opened.append(RunStarted(name="s", kind="search", settings={}))
    for name, log_loss in (("t000", 1.0), ("t001", 1.1)):
        opened.append(asked(name))
        opened.append(ended(name, log_loss))
    return opened


def after(journal: Journal, *events: Event) -> Finals:
    for event in (CHOSEN, *events):
        journal.append(event)
    found = finals_of(fold(journal.entries))
    assert found is not None
    return found


def test_a_search_without_finalists_has_no_finals(journal: Journal) -> None:
    assert finals_of(fold(journal.entries)) is None


def test_the_lowest_mean_on_confirmation_wins_and_validation_says_which_seed_is_shipped(journal: Journal) -> None:
    found = after(
        journal,
        *final("t000", 1, valid=0.7, confirmed=1.5),
        *final("t001", 1, valid=0.9, confirmed=1.2),
        *final("t000", 2, valid=0.6, confirmed=1.7),
        *final("t001", 2, valid=0.8, confirmed=1.4),
    )
    assert found.complete and found.winner is found.standings[0]
    winner, other = found.standings
    assert (winner.trial.asked.trial, other.trial.asked.trial) == ("t001", "t000")
    assert winner.search_log_loss == 1.1 and winner.valid_log_loss == pytest.approx(0.85)
    assert winner.log_loss == pytest.approx(1.3) and winner.deviation == pytest.approx(0.2 / 2**0.5)
    assert winner.curse == pytest.approx(0.2) and other.curse == pytest.approx(0.6)
    assert winner.accuracy == pytest.approx(0.375)
    assert found.shipped is not None and found.shipped.seed == 2, "0.8 on validation, though 1.4 on confirmation"


def test_a_search_that_ranks_by_accuracy_chooses_the_winner_and_its_seed_by_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "accuracy.jsonl")
    journal.append(RunStarted(name="s", kind="search", settings={"rank_by": "accuracy"}))
    for name, log_loss in (("t000", 1.0), ("t001", 1.1)):
        journal.append(asked(name))
        journal.append(ended(name, log_loss))
    figures = {"t000": (0.4, 0.5), "t001": (0.8, 0.6)}  # on confirmation, by seed
    events = []
    for trial, accuracies in figures.items():
        for seed, accuracy in enumerate(accuracies, start=1):
            begun, confirmed, _ = final(trial, seed, valid=0.5, confirmed=1.0 if trial == "t000" else 2.0)
            assert isinstance(confirmed, FinalConfirmed)
            confirmed = replace(confirmed, figures=replace(confirmed.figures, accuracy=accuracy))
            events += [begun, confirmed, ended(f"{trial}-seed{seed}", 0.5 * seed, 0.1 * seed)]
    found = after(journal, *events)
    assert found.winner is not None and found.winner.trial.asked.trial == "t001", "though its log loss is higher"
    assert found.shipped is not None and found.shipped.seed == 2, "0.2 on validation, though its log loss is 1.0"


def test_there_is_no_winner_before_every_final_has_ended(journal: Journal) -> None:
    begun, *_ = final("t001", 2, valid=0.8, confirmed=1.4)
    parts = [*final("t000", 1, 0.7, 1.5), *final("t001", 1, 0.9, 1.2), *final("t000", 2, 0.6, 1.7)]
    assert after(journal, *parts).winner is None
    found = after(journal, begun)
    assert not found.complete and found.winner is None and found.shipped is None
    assert [standing.deviation is None for standing in found.standings] == [False, True]


def test_a_finalist_with_a_seed_that_failed_ranks_after_those_without(journal: Journal) -> None:
    found = after(
        journal,
        *final("t000", 1, valid=0.7, confirmed=0.2),
        *failed("t000", 2),
        *final("t001", 1, valid=0.9, confirmed=1.2),
        *final("t001", 2, valid=0.9, confirmed=1.4),
    )
    assert found.complete and [len(standing.finals) for standing in found.standings] == [2, 1]
    assert found.winner is not None and found.winner.trial.asked.trial == "t001"
    assert found.shipped is not None and found.shipped.seed == 1, "the first of equal ones"


def test_finals_that_all_failed_leave_no_winner(journal: Journal) -> None:
    found = after(journal, *(event for trial in CHOSEN.trials for seed in (1, 2) for event in failed(trial, seed)))
    assert found.complete and found.winner is None and found.standings[0].curse is None


def test_the_last_choice_counts_and_keeps_what_was_trained_before(journal: Journal) -> None:
    after(journal, *final("t000", 1, 0.7, 1.5), *final("t001", 1, 0.9, 1.2))
    again = FinalistsChosen(trials=("t001",), seeds=(1,), cycles=2, epochs_per_cycle=3)
    found = after(journal, again)
    assert found.complete and found.winner is not None and found.winner.log_loss == 1.2
    assert [final.training.asked.trial for final in found.ended] == ["t001-seed1"], "of these finalists only"


def test_finalists_without_figures_stay_in_the_order_of_the_search(journal: Journal) -> None:
    journal.append(FinalistsChosen(trials=("t001", "t000"), seeds=(1,), cycles=2, epochs_per_cycle=3))
    found = finals_of(fold(journal.entries))
    assert found is not None and [one.trial.asked.trial for one in found.standings] == ["t001", "t000"]


def test_finals_without_a_network_are_lost_and_those_that_go_on_are_not(journal: Journal) -> None:
    begun, *_ = final("t001", 2, valid=0.8, confirmed=1.4)
    found = after(journal, *final("t000", 1, 0.7, 1.5), *failed("t000", 2), begun)
    assert [one.training.asked.trial for one in found.lost] == ["t000-seed2"] and len(found.asked) == 3
