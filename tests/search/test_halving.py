"""Trials at rungs: those that pause, those that are promoted, and the reference, which does neither."""

import dataclasses
from pathlib import Path

import pytest
from formula_workers import EPOCHS, conductor, epoch_of, log_loss, run_out, work

from asc.search.conductor import Assignment, Conductor


def test_promotion_pauses_every_trial_but_the_reference_and_goes_on_with_the_best(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 16, asha="promotion")
    trained: list[tuple[str, int | None]] = []
    number = 0
    while (assignment := lead.next_trial(f"w{number}")) is not None:
        trained.append((assignment.trial, assignment.pauses_after))
        work(lead, f"w{number}", assignment)
        number += 1
    assert lead.complete and not lead.record.paused
    assert trained[0] == ("t000", None) and {rung for _, rung in trained[1:]} == {2, 4, None}
    record = lead.record
    reference = record.trials["t000"]
    assert [(rung.epoch, rung.paused) for rung in reference.rungs] == [(2, False), (4, False)]
    others = [trial for trial in record.trials.values() if trial is not reference]
    first = {trial.asked.trial: trial.rungs[0].log_loss for trial in others}
    second = {t.asked.trial: t.rungs[1].log_loss for t in others if len(t.rungs) == 2}
    best = set(sorted(first, key=first.__getitem__)[:7])
    assert len(first) == 15 and best <= set(second), "the best half of the other trials has gone on"
    ended = {trial.asked.trial: trial.ended.outcome for trial in record.trials.values() if trial.ended}
    assert ended[min(second, key=second.__getitem__)] == "completed"
    assert {name for name, outcome in ended.items() if outcome == "completed"} <= {*second, "t000"} != {*first, "t000"}
    stopped = [trial for trial in record.trials.values() if ended[trial.asked.trial] == "stopped"]
    assert all(sorted(trial.epochs)[-1] in (2, 4) for trial in stopped)
    assert len(stopped) >= 8


def test_the_best_of_a_rung_with_few_trials_goes_on_at_the_end(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 3, asha="promotion", reduction_factor=5)
    run_out(lead)
    outcomes = {trial.asked.trial: trial.ended.outcome for trial in lead.record.trials.values() if trial.ended}
    best = min(list(lead.record.trials.values())[1:], key=lambda trial: trial.rungs[0].log_loss)
    assert lead.complete and outcomes["t000"] == outcomes[best.asked.trial] == "completed"


def good_reference(lead: Conductor, trials: int) -> list[Assignment]:
    """Begin trials. The reference is trained to its end, and is the best at each rung. Return the others."""
    begun = [lead.next_trial(f"w{number}") for number in range(trials)]
    reference, *others = [assignment for assignment in begun if assignment is not None]
    for epoch in range(1, EPOCHS + 1):
        lead.epoch_done("w0", dataclasses.replace(epoch_of(reference, epoch), valid_log_loss=0.01))
    work(lead, "w0", dataclasses.replace(reference, journalled=EPOCHS))
    return others


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_good_reference_takes_no_place_of_those_that_are_promoted(tmp_path: Path, interrupted: bool) -> None:
    lead = conductor(tmp_path, 4, asha="promotion", reduction_factor=4)
    for number, other in enumerate(good_reference(lead, 4), start=1):
        work(lead, f"w{number}", other)
    if interrupted:
        lead.journal.close()
        lead = conductor(tmp_path, 4, asha="promotion", reduction_factor=4)
    run_out(lead)
    outcomes = [trial.ended.outcome for trial in lead.record.trials.values() if trial.ended]
    assert lead.complete and sorted(outcomes) == ["completed", "completed", "stopped", "stopped"]


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("loses", ["diverged", "failed"])
def test_the_next_best_goes_on_in_place_of_a_promoted_trial_that_is_lost(
    tmp_path: Path, loses: str, interrupted: bool
) -> None:
    lead = conductor(tmp_path, 3, asha="promotion", reduction_factor=4)
    for number, other in enumerate(good_reference(lead, 3), start=1):
        work(lead, f"w{number}", other)
    first = lead.next_trial("again")
    assert first is not None and first.journalled == 2
    if loses == "diverged":
        lead.diverged("again", 3)
        lead.left("again")
    else:
        lead.failed("again", "it cannot be trained")
    if interrupted:
        lead.journal.close()
        lead = conductor(tmp_path, 3, asha="promotion", reduction_factor=4)
    run_out(lead)
    outcomes = {trial.asked.trial: trial.ended.outcome for trial in lead.record.trials.values() if trial.ended}
    assert lead.complete and outcomes[first.trial] == loses
    assert sorted(outcomes.values()) == sorted(["completed", "completed", loses])


def test_a_worker_waits_for_trials_that_run_and_may_be_promoted(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 3, asha="promotion")
    reference, first, second = (lead.next_trial(worker) for worker in ("w0", "w1", "w2"))
    assert reference is not None and first is not None and second is not None
    work(lead, "w1", first)
    assert lead.record.paused == {first.trial: 2} and lead.running == (reference.trial, second.trial)
    assert lead.epoch_done("w1", epoch_of(first, 3)), "a late message of the old worker changes nothing"
    assert lead.epochs_of("w1") is None and not lead.lost("w1", "it died"), "nor does its death"
    assert lead.next_trial("w3") is None and not lead.done, "one trial at a rung is not a half of it"
    work(lead, "w2", second)
    better = min((first, second), key=lambda one: log_loss(one.experiment, 2))
    promoted = lead.next_trial("w3")
    assert promoted is not None and (promoted.trial, promoted.journalled) == (better.trial, 2)
    assert lead.record.training(better.trial).state == "unfinished"
    assert not lead.lost("w3", "it died") and lead.record.paused.keys() == {first.trial, second.trial} - {better.trial}
    again = lead.next_trial("w4")
    assert again is not None and again == promoted, "a promoted trial that is lost is tried again at once"
