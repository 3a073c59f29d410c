"""launch/runs.py as a user starts it."""

import json
from pathlib import Path

import pytest
from journals import asked_of
from launched import launched, refusal

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.data.dataset import open_dataset
from asc.runs.events import RunStarted
from asc.runs.journal import Journal


@pytest.fixture
def place(tmp_path: Path, tiny_csv: Path, tiny_experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run in runs/ that uses no packed audio, and packed audio in a cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASC_CACHE", str(tmp_path / "cache"))
    journal = Journal(tmp_path / "runs" / "night" / "journal.jsonl")
    journal.append(RunStarted(name="night", kind="train", settings={"data": "synthetic"}))
    journal.append(asked_of("t000", tiny_experiment))
    journal.close()
    open_dataset(DataChoice(f"csv:{tiny_csv}"), sample_rate_hz=6000, cache=tmp_path / "cache")
    return tmp_path


def packed(place: Path) -> list[Path]:
    return list((place / "cache").glob("*/audio.i16"))


def test_runs_are_listed_as_a_table_and_in_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launched("runs.py") == 0
    out, _ = capsys.readouterr()
    assert "night" in out and "synthetic" in out and "not ended" in out
    assert launched("runs.py", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [run["name"] for run in answer["runs"]] == ["night"] and answer["removed"] == []
    assert "elsewhere is no folder" in refusal(capsys, "runs.py", "--storage", "elsewhere", "--prune-cache", "--yes")
    assert len(packed(place)) == 1


def test_the_cache_is_pruned_only_after_agreement(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "give --yes" in refusal_of_pruning(capsys, monkeypatch)
    assert len(packed(place)) == 1
    (kept,) = packed(place)
    assert launched("runs.py", "--prune-cache", "--yes", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["removed"] == [kept.parent.name] and "used by no run here" in err
    assert packed(place) == []
    assert launched("runs.py", "--prune-cache", "--yes") == 0
    assert "has no packed audio that no run uses" in capsys.readouterr().out


def refusal_of_pruning(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said if nobody is at the terminal, after the table and the list."""
    with monkeypatch.context() as patch, open("/dev/null") as nothing:
        patch.setattr("sys.stdin", nothing)
        assert launched("runs.py", "--prune-cache") == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(("answer", "left"), [("n\n", 1), ("\n", 1), ("y\n", 0)])
def test_at_a_terminal_it_asks(
    place: Path, answer: str, left: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import pty

    here, there = pty.openpty()
    os.write(here, answer.encode())
    with monkeypatch.context() as patch, os.fdopen(there) as terminal:
        patch.setattr("sys.stdin", terminal)
        assert launched("runs.py", "--prune-cache") == 0
    os.close(here)
    out, err = capsys.readouterr()
    assert "that no run in runs uses?" in err and len(packed(place)) == left
    assert ("nothing was removed" in out) == bool(left)


def test_a_bucket_cannot_prune_the_cache(capsys: pytest.CaptureFixture[str], object_store: object) -> None:
    storage = object_store.bucket("pruned")  # type: ignore[attr-defined]
    assert launched("runs.py", "--storage", storage, "--prune-cache") == 2
    assert "give --storage DIR" in capsys.readouterr().err


def test_what_damaged_runs_use_is_not_removed_without_a_person(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = place / "runs" / "broken"
    broken.mkdir()
    (broken / "journal.jsonl").write_text('{"event": "Nonsense"}\n')
    with open("/dev/null") as nothing, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", nothing)
        assert launched("runs.py", "--prune-cache", "--yes") == 2
    err = capsys.readouterr().err
    assert "somebody must agree at a terminal" in err and "broken: its journal is damaged" in err
    assert len(packed(place)) == 1
