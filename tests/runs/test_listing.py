"""The list of runs: what each journal says, whoever runs it, and whatever became of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asc.config.data_choice import DataChoice
from asc.errors import InputError
from asc.runs.events import RunEnded, RunStarted
from asc.runs.journal import Journal
from asc.runs.listing import choice_of, records_of, runs_of, sheet

if TYPE_CHECKING:
    from conftest import ObjectStore


def test_a_search_is_listed_with_its_best_trial(night: Path) -> None:
    (run,) = runs_of(str(night.parent))
    assert (run.name, run.kind, run.data, run.budget_kb) == ("night", "search", "synthetic", 128.0)
    assert (run.trials, run.completed, run.best_trial) == (4, 2, "t001")
    assert (run.best_log_loss, run.best_accuracy, run.state) == (0.9, 0.5, "not ended")
    assert run.size_bytes == sum(path.stat().st_size for path in night.rglob("*") if path.is_file())
    ((name, *cells),) = sheet([run], "runs").rows
    assert (name, *cells[:6]) == ("night", "synthetic", "128", "2/4", "0.900", "50.0%", "not ended")


def test_the_state_follows_the_journal_and_its_lock(night: Path) -> None:
    journal = Journal(night / "journal.jsonl")
    assert runs_of(str(night.parent))[0].state == "running"
    journal.append(RunEnded(outcome="interrupted", best=None))
    journal.close()
    assert runs_of(str(night.parent))[0].state == "interrupted"


def test_a_damaged_journal_hides_no_other_run(night: Path) -> None:
    broken, empty = night.parent / "broken", night.parent / "empty"
    for folder, text in ((broken, '{"event": "Nonsense"}\n'), (empty, "")):
        folder.mkdir()
        (folder / "journal.jsonl").write_text(text)
    runs = {run.name: run for run in runs_of(str(night.parent))}
    assert {name: run.state for name, run in runs.items()} == {
        "night": "not ended",
        "broken": "damaged",
        "empty": "not ended",
    }
    assert "journal.jsonl" in (runs["broken"].problem or "") and runs["empty"].kind is None
    assert [name for name, _ in records_of(night.parent)] == ["night"]
    assert list(runs)[0] == "night", "the latest comes first, and what has no time last"


def test_the_data_of_a_run_are_those_of_its_settings(tmp_path: Path) -> None:
    settings = {"data": "esc10:there", "fold": 2, "device_irs": "irs", "budget_kb": 64.0, "seed": 3}
    Journal(tmp_path / "one" / "journal.jsonl").append(RunStarted(name="one", kind="search", settings=settings))
    ((_, record),) = records_of(tmp_path)
    assert choice_of(record) == DataChoice("esc10:there", fold=2, device_irs="irs")


def test_runs_in_a_bucket_are_listed(night: Path, object_store: "ObjectStore") -> None:
    from asc.runs.storage import bucket_of

    storage = object_store.bucket("listing")
    assert runs_of(storage) == []
    bucket = bucket_of(storage)
    assert bucket is not None
    bucket.at("night").put("journal.jsonl", (night / "journal.jsonl").read_bytes())
    (run,) = runs_of(storage)
    (here,) = runs_of(str(night.parent))
    assert (run.name, run.best_trial, run.state) == ("night", "t001", "not ended")
    assert run.size_bytes == (night / "journal.jsonl").stat().st_size < here.size_bytes


def test_only_the_usual_folder_need_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert runs_of("runs") == []
    (tmp_path / "file").write_text("")
    for storage in ("nowhere", "file"):
        with pytest.raises(
            InputError, match=f"^{storage} is no folder: give --storage the folder in which the runs are$"
        ):
            runs_of(storage)
