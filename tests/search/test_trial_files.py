"""The files of a trial that has ended."""

from pathlib import Path

from formula_workers import conductor, work


def test_checkpoints_of_ended_trials_are_removed(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 2)
    assignment = lead.next_trial("w")
    assert assignment is not None
    folder = tmp_path / "trials" / assignment.trial
    folder.mkdir(parents=True)
    for name in ("last.safetensors", "best.safetensors", "model.safetensors", ".last.safetensors.7.tmp"):
        (folder / name).write_text("x")
    work(lead, "w", assignment)
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]
