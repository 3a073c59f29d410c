"""A database that another version of MLflow wrote is refused before MLflow changes it, with advice that works."""

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launched import refusal
from mlflow import MlflowClient
from old_database import NOT_YET_IN_USE, OLDER
from patience import PATIENCE_S

from asc.tracking.mlflow import MlflowTracker, send_journal
from asc.tracking.schema import OtherSchema, check_schema, rebuild_command


def revision(file: Path) -> str:
    with sqlite3.connect(file) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.fixture
def old(tmp_path: Path, old_database: Path) -> Path:
    """A database of an older MLflow with one run, where the script's search would be sent by default."""
    file = tmp_path / "runs" / "mlflow.db"
    file.parent.mkdir(exist_ok=True)
    shutil.copy(old_database, file)
    return file


def test_the_sentence_for_an_older_database_gives_a_command_that_upgrades_it(script, old, tmp_path, capsys):
    script.started()
    script.trial("t000", "completed", 1.2)
    before = old.read_bytes()
    said = refusal(capsys, "track.py", "night", "--storage", str(script.folder.parent))
    assert f"the database sqlite:///{old} was written by an older version than the installed MLflow 3." in said
    assert f"copy {old}" in said and "6 events of night are still to be sent" in said
    assert f"`python launch/track.py --rebuild --storage {old.parent}`" in said
    assert old.read_bytes() == before, "MLflow itself would change it without asking"

    (upgrade,) = re.findall(r"`mlflow (db upgrade [^`]*)`", said)
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", *shlex.split(upgrade)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert send_journal(script.folder, uri=f"sqlite:///{old}").problem is None
    client = MlflowClient(f"sqlite:///{old}")
    names = {run.info.run_name for run in client.search_runs(["0", client.get_experiment_by_name("asc").experiment_id])}
    assert {"of before", "night"} < names


def test_a_search_goes_on_with_one_warning_and_keeps_its_events(script, old):
    script.started()
    warnings: list[str] = []
    tracker = MlflowTracker(script.folder, uri=f"sqlite:///{old}", on_warning=warnings.append)
    tracker.start()
    shipped = tracker.close()
    assert shipped.pending == 1 and "mlflow db upgrade" in (shipped.problem or "")
    assert len(warnings) == 1 and "the run goes on, its events are kept in" in warnings[0]
    assert revision(old) == OLDER


def test_a_newer_database_needs_the_newer_mlflow(old):
    with sqlite3.connect(old) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (NOT_YET_IN_USE,))
    with pytest.raises(OtherSchema, match="by a newer version than the installed MLflow .*: install that one, or make"):
        check_schema(f"sqlite:///{old}")


def test_what_has_no_runs_is_left_to_mlflow(tmp_path, database, old_database):
    for file, data in (("missing.db", None), ("empty.db", b""), ("other.db", b"no database" * 100)):
        if data is not None:
            (tmp_path / file).write_bytes(data)
        check_schema(f"sqlite:///{tmp_path / file}")
    begun = tmp_path / "begun.db"
    shutil.copy(old_database, begun)
    with sqlite3.connect(begun) as opened:
        opened.execute("DELETE FROM runs")
    check_schema(f"sqlite:///{begun}")
    check_schema(database)


def test_the_command_to_rebuild_names_what_differs_from_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = "python launch/track.py --rebuild"
    assert rebuild_command(f"sqlite:///{tmp_path}/runs/mlflow.db") == command
    assert rebuild_command(f"sqlite:///{tmp_path}/a b/mlflow.db") == f"{command} --storage '{tmp_path}/a b'"
    assert rebuild_command("sqlite:////d/x.db") == f"{command} --storage DIR --mlflow-uri sqlite:////d/x.db"


def test_a_process_that_is_killed_while_it_makes_a_database_leaves_nothing_that_disturbs(script, tmp_path):
    file = tmp_path / "new" / "mlflow.db"
    file.parent.mkdir()
    make = f"from asc.tracking.schema import make_database; make_database('sqlite:///{file}')"
    process = subprocess.Popen([sys.executable, "-c", make], cwd=Path(__file__).parents[2])
    making, deadline = file.with_name("mlflow.db.making"), time.monotonic() + PATIENCE_S
    while not making.exists() or making.stat().st_size < 100_000:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert making.exists() and not file.exists()
    script.started()
    assert send_journal(script.folder, uri=f"sqlite:///{file}").problem is None
    assert [path.name for path in file.parent.glob("*.db*")] == ["mlflow.db"]
    check_schema(f"sqlite:///{file}")


def test_a_database_that_mlflow_left_unfinished_is_named(tmp_path):
    file = tmp_path / "mlflow.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE runs (run_uuid TEXT)")
        database.execute("CREATE TABLE _alembic_tmp_runs (run_uuid TEXT)")
    with pytest.raises(OtherSchema, match="was not made to its end: if no other program is making it now, delete"):
        check_schema(f"sqlite:///{file}")
    with sqlite3.connect(file) as database:
        database.execute("DROP TABLE _alembic_tmp_runs")
    check_schema(f"sqlite:///{file}")
