"""How often a trial is tried again that its workers lose."""

from pathlib import Path

from formula_workers import conductor, work

from asc.search.conductor import Conductor


def lose(lead: Conductor, *, blame: bool = True) -> bool:
    assert lead.next_trial("w") is not None
    return lead.lost("w", "its worker died", blame=blame, advice=": make it smaller")


def test_a_trial_lost_three_times_in_a_row_without_a_new_epoch_fails(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 1)
    assert [lose(lead), lose(lead)] == [False, False]
    assignment = lead.next_trial("w")
    assert assignment is not None
    work(lead, "w", assignment, epochs=1)
    assert not lead.lost("w", "its worker died"), "it had completed another epoch"
    assert [lose(lead), lose(lead)] == [False, True]
    trial = lead.record.trials["t000"]
    assert trial.ended is not None and trial.ended.outcome == "failed" and len(trial.retries) == 4
    assert trial.ended.reason == "its worker died: make it smaller"


def test_losses_without_blame_do_not_count_and_a_resumed_search_counts_from_zero(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 1)
    assert [lose(lead), lose(lead), *(lose(lead, blame=False) for _ in range(10))] == 12 * [False]
    lead.journal.close()
    lead = conductor(tmp_path, 1)
    assert [lose(lead), lose(lead), lose(lead)] == [False, False, True]


def test_a_trial_is_not_retried_for_ever(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 1)
    assert any(lose(lead, blame=False) for _ in range(100))
