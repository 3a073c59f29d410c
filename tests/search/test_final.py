"""How finals are chosen: their data, seeds, schedule and order, what is refused, and what a killed process left."""

import dataclasses
from pathlib import Path

import pytest
from conducted import check_any_cut, conductor, run_out, work

from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.config.space import Space
from asc.config.space_file import load_space, parse_space
from asc.errors import InputError
from asc.runs.events import FinalAsked, FinalistsChosen, RunResumed, TrialAsked
from asc.runs.finals import finals_of
from asc.runs.record import fold
from asc.search import final
from asc.search.opening import begun, opened, resumed_settings
from asc.search.options import SearchOptions
from asc.search.plan import plan_search
from asc.search.settings import SearchSettings

FINAL_EPOCHS = 4


@pytest.fixture
def wanted(settings: SearchSettings) -> SearchSettings:
    """Six trials, one at a time, then the best two with two seeds each."""
    return dataclasses.replace(
        settings, max_concurrent=1, seed=7, final_top=2, final_seeds=2, final_cycles=2, final_epochs=FINAL_EPOCHS // 2
    )


def test_the_best_trials_are_retrained_with_the_seeds_after_the_searchs_own(
    tmp_path: Path, wanted: SearchSettings
) -> None:
    lead = conductor(tmp_path, wanted)
    names = run_out(lead)
    best = [trial.asked.trial for trial in lead.record.completed()[:2]]
    assert names[6:] == [f"{best[0]}-seed8", f"{best[1]}-seed8", f"{best[0]}-seed9", f"{best[1]}-seed9"]
    assert lead.done and lead.complete and len(lead.record.trials) == 6
    for name, one in lead.record.finals.items():
        before = Experiment.from_flat(lead.record.trials[one.trial].asked.config)
        experiment = Experiment.from_flat(one.training.asked.config)
        changes = {"seed": one.seed, "schedule.cycles": 2, "schedule.epochs_per_cycle": FINAL_EPOCHS // 2}
        assert experiment == before.updated(changes) != before
        assert sorted(one.training.epochs) == list(range(1, FINAL_EPOCHS + 1)) and not one.training.rungs
        assert one.training.asked.title.startswith(name) and not one.training.asked.title.endswith("reference")
    found = finals_of(lead.record)
    assert found is not None and found.winner is not None
    assert found.winner.trial.asked.trial == best[1], "the second of the search is better on confirmation"


def test_finals_wait_until_all_trials_have_ended(tmp_path: Path, wanted: SearchSettings) -> None:
    lead = conductor(tmp_path, dataclasses.replace(wanted, trials=3))
    assignments = {worker: lead.next_trial(worker) for worker in ("w0", "w1", "w2")}
    assert all(assignments.values())
    for worker, assignment in assignments.items():
        assert lead.next_trial("w3") is None and not lead.done, "a trial still runs, so the best are not known"
        assert assignment is not None
        work(lead, worker, assignment)
    finals = 2 * len(lead.record.completed()[:2])
    given = [lead.next_trial(f"v{number}") for number in range(finals + 1)]
    assert [one is not None and one.final for one in given] == [*finals * [True], False]
    assert lead.done and not lead.complete, "all finals are given out, none has ended"


def test_a_lost_final_is_tried_again_and_a_failed_one_is_not(tmp_path: Path, wanted: SearchSettings) -> None:
    lead = conductor(tmp_path, dataclasses.replace(wanted, trials=2, final_top=1))
    first, second = lead.next_trial("w0"), lead.next_trial("w1")
    assert first is not None and second is not None
    work(lead, "w0", first)
    work(lead, "w1", second)
    lost = lead.next_trial("w2")
    assert lost is not None and lost.final
    assert not lead.lost("w2", "its worker died")
    again = lead.next_trial("w3")
    assert again == lost
    lead.failed("w3", "key x: make it 1")
    assert len(run_out(lead)) == 1 and lead.complete
    outcomes = {name: one.training.ended and one.training.ended.outcome for name, one in lead.record.finals.items()}
    assert list(outcomes.values()) == ["failed", "completed"]


def test_a_search_resumed_after_any_line_of_its_finals_ends_like_an_uninterrupted_one(
    tmp_path: Path, wanted: SearchSettings
) -> None:
    check_any_cut(tmp_path, wanted, run_out)


def test_more_trials_may_change_the_finalists_and_no_final_is_trained_twice(
    tmp_path: Path, wanted: SearchSettings
) -> None:
    lead = conductor(tmp_path, dataclasses.replace(wanted, trials=3))
    run_out(lead)
    before = set(lead.record.finals)
    lead.journal.close()
    lead = conductor(tmp_path, dataclasses.replace(wanted, trials=30))
    names = run_out(lead)
    events = [entry.event for entry in lead.journal.entries]
    assert sum(isinstance(event, FinalistsChosen) for event in events) == 2, "27 trials found better ones"
    assert not before & set(names)
    asked = [event.final for event in events if isinstance(event, FinalAsked)]
    assert len(asked) == len(set(asked)) == len(lead.record.finals)
    assert sum(isinstance(event, TrialAsked) for event in events) == 30


def test_fewer_finalists_on_resume_need_no_training(tmp_path: Path, wanted: SearchSettings) -> None:
    lead = conductor(tmp_path, wanted)
    run_out(lead)
    best = lead.record.completed()[0].asked.trial
    lead.journal.close()
    lead = conductor(tmp_path, dataclasses.replace(wanted, final_top=1))
    assert run_out(lead) == [] and lead.complete
    found = finals_of(lead.record)
    assert found is not None and [one.trial.asked.trial for one in found.standings] == [best]
    assert found.winner is not None and len(found.winner.finals) == 2


def test_without_finals_a_journal_says_nothing_of_them(tmp_path: Path, settings: SearchSettings) -> None:
    lead = conductor(tmp_path, settings)
    run_out(lead)
    assert (
        lead.complete
        and b"inal_" not in lead.journal.path.read_bytes()
        and b"Final" not in (lead.journal.path.read_bytes())
    )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"final_top": -1}, "--final-top must be 0 (no finals) or more, got -1"),
        ({"final_top": 7}, "--final-top 7 is more than the 6 trials of the search"),
        ({"final_top": 1, "final_seeds": 0}, "--final-seeds must be 1 or more, got 0"),
        ({"final_top": 1, "final_cycles": 0}, "--final-cycles must be 1 or more, got 0"),
        ({"final_epochs": 3}, "--final-epochs says how the best trials are retrained: give --final-top too"),
    ],
)
def test_settings_of_finals_that_do_not_go_together_are_refused(
    settings: SearchSettings, changes: dict[str, int], part: str
) -> None:
    with pytest.raises(InputError) as caught:
        dataclasses.replace(settings, **changes)  # type: ignore[arg-type]
    assert part in str(caught.value)


def test_the_defaults_are_three_seeds_and_the_schedule_of_the_recipe(settings: SearchSettings) -> None:
    assert final.filled(settings) == settings
    filled = final.filled(dataclasses.replace(settings, final_top=2))
    assert (filled.final_seeds, filled.final_cycles, filled.final_epochs, filled.finals) == (3, 3, 120, 6)
    chosen = dataclasses.replace(settings, final_top=2, final_seeds=1, final_cycles=2, final_epochs=9, recipe="gone")
    assert final.filled(chosen) == chosen, "the recipe is read only if it is needed"


def test_one_cycle_is_refused_if_it_would_end_with_pruning(settings: SearchSettings, idlab128: Space) -> None:
    base = load_experiment("qat_8b")
    one = dataclasses.replace(settings, final_top=1, final_seeds=1, final_cycles=1, final_epochs=9)
    with pytest.raises(InputError, match="--final-cycles 1 leaves no cycle after the first"):
        final.check(one, base, idlab128)
    text = 'schema = 1\n[parameters]\n"architecture.widths.0" = { low = 4, high = 64, step = 4 }\n'
    final.check(one, base, parse_space(text, source="test", name="unpruned"))
    with pytest.raises(InputError, match="seed must be"):
        final.check(dataclasses.replace(one, seed=2**63 - 1, final_cycles=2), base, idlab128)


def test_half_of_calibration_is_set_aside_only_if_trials_are_calibrated(
    settings: SearchSettings, wanted: SearchSettings
) -> None:
    space = load_space("quick")
    plain = plan_search(dataclasses.replace(settings, max_concurrent=1, seed=7), space)
    uncalibrated = plan_search(wanted, space)
    assert uncalibrated.manifest == plain.manifest
    assert final.confirmation_split(uncalibrated.manifest.choice) == "calibration"
    calibrated = plan_search(dataclasses.replace(wanted, calibrate="temperature"), space)
    choice, whole = calibrated.manifest.choice, plain.manifest.count("calibration")
    assert final.confirmation_split(choice) == "confirmation"
    assert 0 < calibrated.manifest.count("confirmation") == whole - calibrated.manifest.count("calibration") < whole
    assert calibrated.manifest.digest != plain.manifest.digest
    for split in ("train", "valid", "test"):
        before, now = ([c for c in one.manifest.clips if c.split == split] for one in (plain, calibrated))
        assert before == now, "the search trains and ranks on the same clips as without finals"


def test_the_schedule_of_the_finals_is_saved_and_kept_on_resume(tmp_path: Path) -> None:
    options = SearchOptions(storage=str(tmp_path), name="s", final_top=2, final_epochs=9)
    first = opened(options)
    begun(first, options, plan_search(first.settings, first.space)).close()
    assert (first.settings.final_seeds, first.settings.final_cycles, first.settings.final_epochs) == (3, 3, 9)
    assert opened(SearchOptions(storage=str(tmp_path), resume="s")).settings == first.settings


def test_finals_can_be_added_on_resume_and_what_was_added_is_kept(tmp_path: Path) -> None:
    options = SearchOptions(storage=str(tmp_path), name="s")
    first = opened(options)
    begun(first, options, plan_search(first.settings, first.space)).close()
    added = SearchOptions(storage=str(tmp_path), resume="s", final_top=1, final_seeds=2)
    again = opened(added)
    assert again.settings.finals == 2 and again.settings.final_cycles == 3
    journal = begun(again, added, plan_search(again.settings, again.space, again.reference))
    (resumed,) = fold(journal.entries).resumed
    assert resumed == RunResumed(settings={"final_top": 1, "final_seeds": 2, "final_cycles": 3, "final_epochs": 120})
    journal.close()
    assert opened(SearchOptions(storage=str(tmp_path), resume="s")).settings == again.settings


def test_finals_that_would_use_clips_of_the_search_are_refused_on_resume(tmp_path: Path) -> None:
    options = SearchOptions(storage=str(tmp_path), name="s", calibrate="temperature")
    first = opened(options)
    begun(first, options, plan_search(first.settings, first.space)).close()
    with pytest.raises(InputError, match="--final-top cannot be added to s, because its trials were calibrated"):
        opened(SearchOptions(storage=str(tmp_path), resume="s", final_top=1))


def test_the_schedule_cannot_change_once_a_final_has_begun_nor_finals_be_dropped(
    tmp_path: Path, wanted: SearchSettings
) -> None:
    lead = conductor(tmp_path / "begun", wanted)
    before = fold(lead.journal.entries)
    assert resumed_settings(before, {"final_epochs": 3}).final_epochs == 3, "no final has begun"
    run_out(lead)
    record = fold(lead.journal.entries)
    assert resumed_settings(record, {"final_top": 3, "final_seeds": 4}).finals == 12
    with pytest.raises(InputError, match="--final-epochs is 2 in s and cannot change on --resume"):
        resumed_settings(record, {"final_epochs": 3})
    with pytest.raises(InputError, match="--final-top is 2 in s and cannot be 0"):
        resumed_settings(record, {"final_top": 0})
