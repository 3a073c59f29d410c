"""What follows the trials: larger teachers first, then soft labels, then finals that learn from these."""

import dataclasses
from pathlib import Path

import pytest
from conducted import MADE, check_any_cut, conductor, finished, run_out, work

from asc.config.experiment import Experiment
from asc.errors import InputError
from asc.runs.events import FinalAsked, SoftLabelsMade, TeacherAsked
from asc.runs.record import fold
from asc.search.conductor import Conductor
from asc.search.opening import resumed_settings
from asc.search.settings import SearchSettings


def test_teachers_come_first_then_soft_labels_then_finals_that_learn_from_them(
    tmp_path: Path, taught: SearchSettings
) -> None:
    lead = conductor(tmp_path, taught)
    names = finished(lead)
    best = [trial.asked.trial for trial in lead.record.completed()[:2]]
    assert names[4:6] == ["teacher-seed8", "teacher-seed9"]
    assert names[6:] == [f"{trial}-seed{seed}" for seed in (8, 9) for trial in best]
    assert lead.complete and not lead.needs_soft_labels
    assert {final.soft_labels for final in lead.record.finals.values()} == {"ab"}
    asked = [entry.event for entry in lead.journal.entries if isinstance(entry.event, TeacherAsked)]
    assert [event.seed for event in asked] == [8, 9] and {event.trial for event in asked} == {best[0]}
    for teacher in lead.record.teachers.values():
        assert not teacher.rungs and teacher.asked.point is None and teacher.ended is not None
        assert Experiment.from_flat(teacher.asked.config).schedule.epochs == 4


def test_without_larger_teachers_soft_labels_follow_the_trials(tmp_path: Path, taught: SearchSettings) -> None:
    lead = conductor(tmp_path, dataclasses.replace(taught, teacher_kb=None))
    assert len(run_out(lead)) == 4 and lead.needs_soft_labels
    lead.journal.append(MADE)
    assert len(run_out(lead)) == 4 and lead.complete and not lead.record.teachers


def test_soft_labels_wait_until_the_last_teacher_has_ended_even_if_one_fails(
    tmp_path: Path, taught: SearchSettings
) -> None:
    lead = conductor(tmp_path, dataclasses.replace(taught, final_top=1, trials=1))
    first = lead.next_trial("w0")
    assert first is not None
    work(lead, "w0", first)
    one, other = lead.next_trial("w1"), lead.next_trial("w2")
    assert one is not None and other is not None and not one.final and one.soft_labels is None
    assert lead.next_trial("w3") is None and lead.done and not lead.needs_soft_labels
    assert not lead.lost("w1", "its worker died")
    again = lead.next_trial("w4")
    assert again == one, "a lost teacher is trained again"
    lead.failed("w4", "key x: make it 1")
    assert not lead.needs_soft_labels
    work(lead, "w2", other)
    assert lead.needs_soft_labels and not lead.complete


def test_a_search_resumed_after_any_line_ends_like_an_uninterrupted_one(tmp_path: Path, taught: SearchSettings) -> None:
    check_any_cut(tmp_path, taught, finished)


def test_later_finals_learn_from_the_same_soft_labels(tmp_path: Path, taught: SearchSettings) -> None:
    lead = conductor(tmp_path, taught)
    finished(lead)
    lead.journal.close()
    lead = conductor(tmp_path, dataclasses.replace(taught, trials=20))
    names = run_out(lead)
    assert lead.complete and not any(name.startswith("teacher") for name in names)
    assert {final.soft_labels for final in lead.record.finals.values()} == {"ab"}
    assert sum(isinstance(entry.event, SoftLabelsMade) for entry in lead.journal.entries) == 1


def test_teachers_may_be_asked_for_on_resume_until_finals_or_teachers_have_begun(
    tmp_path: Path, taught: SearchSettings
) -> None:
    lead = conductor(tmp_path, dataclasses.replace(taught, distil=False, teacher_kb=None))
    now = resumed_settings(fold(lead.journal.entries), {"distil": True, "teacher_kb": 400.0})
    assert now.distil and now.teachers == 2
    run_out(lead)
    assert all(event.soft_labels is None for event in _finals(lead))
    with pytest.raises(InputError, match="--distil is False in s and cannot change on --resume"):
        resumed_settings(fold(lead.journal.entries), {"distil": True})


def _finals(lead: Conductor) -> list[FinalAsked]:
    return [entry.event for entry in lead.journal.entries if isinstance(entry.event, FinalAsked)]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"final_top": 0, "final_seeds": None}, "--distil says what the finals learn from: give --final-top too"),
        ({"teacher_logits": "x"}, "--distil and --teacher-logits both name teachers: give one of them"),
        ({"distil": False}, "--teacher-kb says how large teachers may be: give --distil too"),
        ({"teacher_kb": 128.0}, "--teacher-kb 128 is no more than --budget-kb 128"),
        (
            {"distil": False, "teacher_kb": None, "teacher_logits": "x", "final_top": 0, "final_seeds": None},
            "--teacher-logits says what the finals learn from: give --final-top too",
        ),
    ],
)
def test_settings_of_teachers_that_do_not_go_together_are_refused(
    taught: SearchSettings, changes: dict[str, int], part: str
) -> None:
    plain = dataclasses.replace(taught, final_cycles=None, final_epochs=None)
    with pytest.raises(InputError) as caught:
        dataclasses.replace(plain, **changes)  # type: ignore[arg-type]
    assert part in str(caught.value)
