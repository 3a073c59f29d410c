"""The conductor without Ray: simulated workers train by formula and die, and a search resumes from its journal."""

import random
from pathlib import Path

import pytest
from formula_workers import EPOCHS, conductor, epoch_of, run_out, work

from asc.config.experiment import Experiment
from asc.config.space_file import load_space, parse_space
from asc.results import Interval
from asc.runs.events import EarlierPoint, EpochDone, PointRefused, TrialAsked, TrialEnded
from asc.runs.journal import read_journal
from asc.runs.record import fold
from asc.search.cluster.trial import Message, message_of, result_of
from asc.size.law import cost
from asc.training_results import FinalFigures


def trials_of(folder: Path) -> list[tuple[object, ...]]:
    record = fold(read_journal(folder / "journal.jsonl"))
    return [
        (
            t.asked.trial,
            dict(t.asked.config),
            t.ended and t.ended.outcome,
            t.ended and t.ended.log_loss,
            sorted(t.epochs),
        )
        for t in record.trials.values()
    ]


def test_a_search_tries_the_reference_first_and_stays_within_the_budget(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 30)
    run_out(lead)
    trials = list(lead.record.trials.values())
    assert len(trials) == 30 and lead.done
    assert trials[0].asked.reference and trials[0].asked.config["architecture.widths.1"] == 48
    assert all(t.asked.nonzero_bytes <= 131_072 for t in trials)
    assert {t.asked.config["compression.storage"] for t in trials} == {"int8", "float16"}
    assert any(t.asked.size_bytes > 131_072 for t in trials), "pruned networks may be wider"
    for trial in trials:
        built = Experiment.from_flat(trial.asked.config)
        assert cost(built).stored == trial.asked.predicted
    assert trials[0].ended is not None and trials[0].ended.outcome == "completed", "the reference is never stopped"
    outcomes = {t.ended.outcome for t in trials if t.ended}
    assert outcomes == {"completed", "stopped"} and all(t.ended for t in trials)
    assert all(e.epoch in (2, 4) for t in trials for e in t.rungs), "rungs are at the ends of cycles"


def test_the_intervals_of_a_completed_trial_come_into_the_journal(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 1)
    assignment = lead.next_trial("w")
    assert assignment is not None
    intervals = {"log_loss_interval": Interval(low=0.8, high=1.1), "accuracy_interval": Interval(low=0.4, high=0.6)}
    built = lead.record.trials[assignment.trial].asked.predicted
    figures = FinalFigures(log_loss=0.9, accuracy=0.5, epochs=EPOCHS, built=built, **intervals)
    received = message_of(result_of(Message(completed=figures)))
    assert received is not None and received.completed == figures
    lead.completed("w", received.completed)
    ended = fold(read_journal(lead.journal.path)).trials[assignment.trial].ended
    assert ended is not None and {key: getattr(ended, key) for key in intervals} == intervals


def test_points_that_cannot_be_are_refused_and_the_search_goes_on(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 12, load_space("front128"))
    run_out(lead)
    record = lead.record
    assert len(record.trials) == 12
    refused = [event for entry in lead.journal.entries if isinstance(event := entry.event, PointRefused)]
    reasons = {event.reason for event in refused if event.twin is None}
    assert reasons and all(reason.startswith("front_end.window_s is 8192 samples, but") for reason in reasons)
    assert len({trial.asked.config["front_end.normalisation"] for trial in record.trials.values()}) > 1


@pytest.mark.parametrize("asha", ["stopping", "promotion"])
def test_a_search_interrupted_at_random_ends_like_an_uninterrupted_one(tmp_path: Path, asha: str) -> None:
    whole = conductor(tmp_path / "whole", 10, asha=asha)
    run_out(whole)
    expected = trials_of(tmp_path / "whole")

    rng = random.Random(0)
    for _ in range(25):
        lead = conductor(tmp_path / "parts", 10, asha=asha)
        assignment = lead.next_trial("w")
        if assignment is not None:
            work(lead, "w", assignment, epochs=rng.choice([0, 1, 3, 5, EPOCHS]))
        lead.journal.close()
    lead = conductor(tmp_path / "parts", 10, asha=asha)
    run_out(lead)
    assert trials_of(tmp_path / "parts") == expected
    events = [entry.event for entry in read_journal(tmp_path / "parts" / "journal.jsonl")]
    epochs = [(e.trial, e.metrics.epoch) for e in events if isinstance(e, EpochDone)]
    ends = [e.trial for e in events if isinstance(e, TrialEnded)]
    asked = [e.trial for e in events if isinstance(e, TrialAsked)]
    for done in (epochs, ends, asked):
        assert len(done) == len(set(done)), "nothing may be journalled twice"


@pytest.mark.parametrize(("asha", "trials"), [("stopping", 6), ("promotion", 9)])
def test_a_search_resumed_after_any_journal_line_ends_like_an_uninterrupted_one(
    tmp_path: Path, asha: str, trials: int
) -> None:
    """A process may die between any two events; decisions that it had not journalled must be made again identically."""
    whole = conductor(tmp_path / "whole", trials, asha=asha)
    run_out(whole)
    expected = trials_of(tmp_path / "whole")
    lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines)):
        folder = tmp_path / f"cut{count}"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(b"".join(lines[:count]))
        lead = conductor(folder, trials, asha=asha)
        run_out(lead)
        lead.journal.close()
        assert trials_of(folder) == expected, f"cut after line {count}: {lines[count - 1]!r}"


def test_a_search_longer_than_the_samplers_history_resumes_like_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = conductor(tmp_path / "unbounded", 14)
    run_out(whole)
    monkeypatch.setattr("asc.search.sampler.LONGEST", 8)
    monkeypatch.setattr("asc.search.sampler.SHORTEST", 6)
    whole = conductor(tmp_path / "whole", 14)
    run_out(whole)
    expected = trials_of(tmp_path / "whole")
    assert expected[:8] == trials_of(tmp_path / "unbounded")[:8], "points before the first cut must be the same"
    assert expected != trials_of(tmp_path / "unbounded")
    lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for count in range(20, len(lines), 13):
        folder = tmp_path / f"cut{count}"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(b"".join(lines[:count]))
        lead = conductor(folder, 14)
        run_out(lead)
        lead.journal.close()
        assert trials_of(folder) == expected, f"cut after line {count}"


def test_a_search_with_duplicate_points_resumes_like_an_uninterrupted_one(tmp_path: Path) -> None:
    text = """schema = 1
[parameters]
"architecture.widths.0" = { low = 4, high = 32, step = 4 }
"architecture.widths.1" = { low = 8, high = 24, step = 8 }
"""
    space = parse_space(text, source="test", name="small")
    whole = conductor(tmp_path / "whole", 14, space)
    run_out(whole)
    assert any(refused.twin for refused in whole.record.refused)
    expected = trials_of(tmp_path / "whole")
    lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines, start=1) if b'"TrialEnded"' in line]
    for count in ends[3::3]:
        folder = tmp_path / f"cut{count}"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(b"".join(lines[:count]))
        lead = conductor(folder, 14, space)
        run_out(lead)
        lead.journal.close()
        assert trials_of(folder) == expected, f"cut after line {count}"


def test_points_of_earlier_runs_come_after_the_reference_once_also_after_a_resume(tmp_path: Path) -> None:
    space, rng = load_space("idlab128"), random.Random(3)
    earlier = tuple(
        EarlierPoint(run="night", trial=f"t{number:03d}", point=space.sample(rng)) for number in (7, 2, 7, 5)
    )
    twice = (*earlier[:3], EarlierPoint(run="day", trial="t000", point=earlier[0].point), earlier[3])
    whole = conductor(tmp_path / "whole", 7, earlier=twice)
    run_out(whole)
    trials = list(whole.record.trials.values())
    assert [trial.asked.earlier for trial in trials[:4]] == [None, "night/t007", "night/t002", "night/t005"]
    assert [trial.asked.point for trial in trials[1:4]] == [earlier[n].point for n in (0, 1, 3)]
    assert trials[1].asked.title.endswith(" as night/t007")
    expected = trials_of(tmp_path / "whole")
    lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines), 2):
        folder = tmp_path / f"cut{count}"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(b"".join(lines[:count]))
        lead = conductor(folder, 7)
        run_out(lead)
        lead.journal.close()
        assert trials_of(folder) == expected, f"cut after line {count}: {lines[count - 1]!r}"


def test_an_epoch_reported_again_is_journalled_once(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 2)
    assignment = lead.next_trial("w")
    assert assignment is not None
    before = len(lead.journal.entries)
    for _ in range(3):
        lead.epoch_done("w", epoch_of(assignment, 1))
    assert len(lead.journal.entries) == before + 1


def test_failed_and_diverged_trials_end_once_and_the_search_goes_on(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 4)
    lead.next_trial("w0")
    lead.failed("w0", "out of memory")
    lead.failed("w0", "out of memory")
    lead.next_trial("w1")
    lead.diverged("w1", 2)
    lead.left("w1")
    run_out(lead)
    outcomes = [t.ended.outcome for t in lead.record.trials.values() if t.ended]
    assert outcomes[:2] == ["failed", "diverged"] and len(outcomes) == 4
    assert lead.record.trials["t000"].ended is not None
    assert lead.record.trials["t000"].ended.reason == "out of memory"


def test_a_duplicate_network_is_not_trained_and_does_not_count_as_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asc.search.points.MOST_REFUSALS", 100)
    text = 'schema = 1\n[parameters]\n"architecture.widths.0" = { low = 4, high = 64, step = 4 }\n'
    space = parse_space(text, source="test", name="small")
    lead = conductor(tmp_path, 40, space, budget_kb=40.0)
    run_out(lead)
    configs = [tuple(sorted(t.asked.config.items())) for t in lead.record.trials.values()]
    assert len(configs) == len(set(configs)) < 40
    assert lead.done, "the search must end when the space has no more networks"
    twins = [e.event for e in lead.journal.entries if isinstance(e.event, PointRefused)]
    assert twins and all(refused.twin in lead.record.trials for refused in twins)


def test_a_failed_network_may_be_tried_again_but_not_one_that_is_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asc.search.points.MOST_REFUSALS", 20)
    text = 'schema = 1\n[parameters]\n"architecture.widths.0" = { low = 20, high = 24, step = 4 }\n'
    space = parse_space(text, source="test", name="small")
    lead = conductor(tmp_path, 4, space)
    first, second = lead.next_trial("w0"), lead.next_trial("w1")
    assert first is not None and second is not None
    lead.failed("w1", "its worker process died")
    third = lead.next_trial("w2")
    assert third is not None and third.experiment == second.experiment
    lead.journal.close()
    again = conductor(tmp_path, 4, space)
    assert [again.next_trial(worker) for worker in ("v0", "v1")] == [first, third]
    assert again.next_trial("v2") is None, "both networks are running"
    again.journal.close()


def test_a_point_that_cannot_be_repaired_does_not_count_as_a_trial(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 5, budget_kb=2.0)
    run_out(lead)
    assert len(lead.record.trials) == 5
    refused = [r for r in lead.record.refused if r.twin is None]
    assert refused and all(t.asked.nonzero_bytes <= 2 * 1024 for t in lead.record.trials.values())


def test_several_budgets_take_turns_and_each_has_a_reference_and_rungs_of_its_own(tmp_path: Path) -> None:
    several = {"budget_kb": 64.0, "budgets_kb": "8,16,64", "asha": "promotion"}
    whole = conductor(tmp_path / "whole", 15, **several)
    run_out(whole)
    asked = [trial.asked for trial in whole.record.trials.values()]
    assert [one.budget_kb for one in asked] == 5 * [64.0, 16.0, 8.0]
    assert [one.reference for one in asked] == 3 * [True] + 12 * [False]
    for one in asked:
        assert one.budget_kb is not None and one.nonzero_bytes <= one.budget_kb * 1024
        assert f" of {one.budget_kb:g} KB" in one.title
    completed = [trial.asked for trial in whole.record.completed()]
    assert {one.budget_kb for one in completed if not one.reference} == {8.0, 16.0, 64.0}, "each promotes its best"
    for budget in (8.0, 16.0, 64.0):
        rung = {
            trial.asked.trial: trial.rungs[0].log_loss
            for trial in whole.record.trials.values()
            if trial.asked.budget_kb == budget
        }
        best = min(rung, key=rung.__getitem__)
        assert best in {one.trial for one in completed}
    expected = trials_of(tmp_path / "whole")
    lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for count in range(2, len(lines), 5):
        folder = tmp_path / f"cut{count}"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(b"".join(lines[:count]))
        lead = conductor(folder, 15, **several)
        run_out(lead)
        lead.journal.close()
        assert trials_of(folder) == expected, f"cut after line {count}: {lines[count - 1]!r}"


def test_a_reference_that_fits_a_smaller_budget_is_trained_once(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 4, budget_kb=256.0, budgets_kb="200,256")
    run_out(lead)
    references = [trial.asked.trial for trial in lead.record.trials.values() if trial.asked.reference]
    assert references == ["t000"] and len(lead.record.trials) == 4
    (refused,) = (one for one in lead.record.refused if not one.point)
    assert refused.reason == "the reference is the same network as t000" and refused.budget_kb == 200


def test_a_lost_trial_is_assigned_next(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 3)
    first = lead.next_trial("w0")
    assert first is not None
    work(lead, "w0", first, epochs=2)
    assert not lead.lost("w0", "its worker died")
    assert lead.running == ()
    again = lead.next_trial("w1")
    assert again is not None and (again.trial, again.journalled) == (first.trial, 2)
    work(lead, "w1", again)
    run_out(lead)
    (retried,) = lead.record.trials[first.trial].retries
    assert retried.epoch == 2 and all(trial.ended for trial in lead.record.trials.values())


def test_a_halted_search_assigns_nothing_and_leaves_its_trials_unfinished(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 3)
    assert lead.next_trial("w0") is not None
    lead.halt("the disk is full")
    lead.halt("another problem")
    assert lead.next_trial("w1") is None and lead.problem == "the disk is full"
    lead.left("w0")
    assert [trial.ended for trial in lead.record.trials.values()] == [None]
