"""`launch/track.py --rebuild` makes the database from the journals of all runs, and loses nothing when it is killed."""

import contextlib
import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from launched import launched, refusal
from mlflow import MlflowClient
from patience import PATIENCE_S

from asc.errors import InputError
from asc.tracking.cursor import load_cursor
from asc.tracking.mlflow import MlflowTracker, locked, send_journal
from asc.tracking.rebuild import rebuild

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def storage(script: Any, tmp_path: Path, old_database: Path) -> Path:
    """Three runs, one of them a training, and the database of an older MLflow."""
    script.started()
    script.trial("t000", "completed", 1.2)
    script.trial("t001", "stopped", epochs=1)
    script.files()
    script.run_ended(best="t000")
    for name, kind in (("day", "search"), ("alone", "train")):
        other = type(script)(tmp_path / "runs" / name)
        other.started(kind)
        other.trial("t000", "completed", 0.9)
        other.run_ended(best="t000")
        other.journal.close()
    script.journal.close()
    shutil.copy(old_database, tmp_path / "runs" / "mlflow.db")
    return tmp_path / "runs"


def kept_files(storage: Path) -> list[Path]:
    return sorted(storage.glob("mlflow-*.db"))


def check_whole(storage: Path) -> None:
    """Check that the database holds each run and trial once, and that nothing is left to be sent."""
    uri = f"sqlite:///{storage / 'mlflow.db'}"
    with sqlite3.connect(storage / "mlflow.db") as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (6,)
    for name in ("night", "day", "alone"):
        assert load_cursor(storage / name, uri).offset == (storage / name / "journal.jsonl").stat().st_size
        shipped = send_journal(storage / name, uri=uri)
        assert (shipped.events, shipped.problem) == (0, None)
    found = MlflowClient(uri).search_model_versions("name = 'night'")
    assert [str(version.version) for version in found] == ["1"]
    assert not (storage / "mlflow.unfinished.db").exists()


def test_every_run_is_in_the_new_database_and_the_old_one_is_kept(
    storage, old_database, empty_database, capsys, caplog
):
    caplog.set_level("WARNING", logger="mlflow")  # as launch/track.py sets it in a process of its own
    shutil.copy(empty_database, storage / "mlflow.unfinished.db")  # which saves the seconds of its creation
    assert launched("track.py", "--rebuild", "--storage", str(storage)) == 0
    out, err = capsys.readouterr()
    (kept,) = kept_files(storage)
    assert kept.read_bytes() == old_database.read_bytes()
    assert f"of 3 runs sent to the new database sqlite:///{storage}/mlflow.db" in out
    assert f"the old one is kept as {kept}" in out and "mlflow ui --host 127.0.0.1" in out
    assert [line.partition(":")[0] for line in err.splitlines()] == ["alone", "day", "night"]
    check_whole(storage)


def test_one_that_is_killed_changes_nothing_and_can_be_started_again(storage, old_database, empty_database):
    shutil.copy(empty_database, storage / "mlflow.unfinished.db")
    command = [sys.executable, str(ROOT / "launch" / "track.py"), "--rebuild", "--storage", str(storage)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("alone:")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    assert kept_files(storage) == []
    assert (storage / "mlflow.db").read_bytes() == old_database.read_bytes()

    assert launched("track.py", "--rebuild", "--storage", str(storage)) == 0
    assert len(kept_files(storage)) == 1
    check_whole(storage)


def test_one_that_is_killed_between_the_renames_ends_with_the_new_database(storage, empty_database):
    new = storage / "mlflow.unfinished.db"
    shutil.copy(empty_database, new)
    for name in ("alone", "day", "night"):
        assert send_journal(storage / name, uri=f"sqlite:///{new}").problem is None
    (storage / "mlflow.db").rename(storage / "mlflow-20260101-000000.db")
    assert launched("track.py", "--rebuild", "--storage", str(storage)) == 0
    assert len(kept_files(storage)) == 1
    check_whole(storage)


def test_a_damaged_journal_and_an_unfinished_database_of_an_older_mlflow_are_left_out(storage, old_database, capsys):
    shutil.copy(old_database, storage / "mlflow.unfinished.db")
    (storage / "day" / "journal.jsonl").write_text("{}\n")
    assert launched("track.py", "--rebuild", "--storage", str(storage)) == 0
    out, err = capsys.readouterr()
    assert "of 2 runs" in out
    assert err.startswith(f"left out: {storage}/day/journal.jsonl")
    with sqlite3.connect(storage / "mlflow.db") as database:
        assert database.execute("SELECT count(*) FROM runs WHERE name = 'of before'").fetchone() == (0,)


def test_it_refuses_what_it_cannot_do_and_changes_nothing(storage, old_database, tmp_path, capsys):
    here = ("track.py", "--rebuild", "--storage", str(storage))
    assert "is a server: give --mlflow-uri sqlite:" in refusal(capsys, *here, "--mlflow-uri", "http://127.0.0.1:9")
    assert f"--rebuild sends every run of {storage}: leave out night" in refusal(capsys, *here, "night")
    assert "has no runs with events" in refusal(capsys, "track.py", "--rebuild", "--storage", str(tmp_path / "none"))
    assert "no run was named" in refusal(capsys, "track.py", "--storage", str(storage))
    with (storage / "night" / "mlflow.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "is being sent to MLflow by another process" in refusal(capsys, *here)
    assert (storage / "mlflow.db").read_bytes() == old_database.read_bytes()
    assert not (storage / "mlflow.unfinished.db").exists()


def test_a_run_that_begins_and_ends_meanwhile_is_sent_too(storage, script, empty_database):
    shutil.copy(empty_database, storage / "mlflow.unfinished.db")
    said: list[str] = []

    def say(line: str) -> None:
        if not said:
            begun(script, storage / "late")
        said.append(line)

    rebuilt = rebuild(str(storage), f"sqlite:///{storage / 'mlflow.db'}", say)
    assert rebuilt.runs == 4 and said[-1].startswith("late: ")
    shipped = send_journal(storage / "late", uri=f"sqlite:///{storage / 'mlflow.db'}")
    assert (shipped.events, shipped.problem) == (0, None)


def test_a_run_that_begins_meanwhile_and_is_still_being_sent_stops_it(storage, script, old_database, empty_database):
    shutil.copy(empty_database, storage / "mlflow.unfinished.db")
    locks = []

    def say(line: str) -> None:
        if not locks:
            begun(script, storage / "late")
            locks.append(locked(storage / "late"))

    with pytest.raises(InputError, match="late is being sent to MLflow by another process: .* start --rebuild again"):
        rebuild(str(storage), f"sqlite:///{storage / 'mlflow.db'}", say)
    locks[0].close()
    assert kept_files(storage) == [] and (storage / "mlflow.db").read_bytes() == old_database.read_bytes()
    assert rebuild(str(storage), f"sqlite:///{storage / 'mlflow.db'}", lambda line: None).runs == 4


def test_a_process_that_sends_meanwhile_sends_everything_to_the_new_database(storage, script, tmp_path, empty_database):
    uri = f"sqlite:///{storage / 'mlflow.db'}"
    for name in ("mlflow.db", "mlflow.unfinished.db"):
        shutil.copy(empty_database, storage / name)
    other = type(script)(tmp_path / "elsewhere" / "other")
    other.started()
    warnings: list[str] = []
    tracker = MlflowTracker(other.folder, uri=uri, on_warning=warnings.append)
    tracker.start()
    deadline = time.monotonic() + PATIENCE_S
    while load_cursor(other.folder, uri).offset == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    rebuild(str(storage), uri, lambda line: None)
    other.trial("t000", "completed", 0.8)
    other.run_ended(best="t000")
    tracker.notify()
    assert tracker.close(drain_s=PATIENCE_S).problem is None
    assert len(warnings) == 1 and "was replaced while it was in use" in warnings[0]
    with sqlite3.connect(storage / "mlflow.db") as database:
        assert database.execute("SELECT name FROM runs WHERE name IN ('other', 't000') ORDER BY 1").fetchall()[0] == (
            "other",
        )


def test_a_database_that_another_program_has_open_is_left_alone(storage):
    uri, file = f"sqlite:///{storage / 'mlflow.db'}", storage / "mlflow.db"
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE only_here (x)")
        with pytest.raises(InputError, match="another program has the database .* open, .*-wal remains: stop it"):
            rebuild(str(storage), uri, lambda line: None)
        assert kept_files(storage) == [] and file.exists()
    rebuilt = rebuild(str(storage), uri, lambda line: None)
    with sqlite3.connect(rebuilt.kept or "") as database:
        assert database.execute("SELECT count(*) FROM only_here").fetchone() == (0,), "nothing of it is lost"


def begun(script: Any, folder: Path) -> None:
    """A search that has begun, and ended, in a new folder."""
    other = type(script)(folder)
    other.started()
    other.trial("t000", "completed", 0.7)
    other.run_ended(best="t000")
    other.journal.close()
