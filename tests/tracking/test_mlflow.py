"""A whole journal in MLflow: its runs, crashes and outages, and launch/track.py."""

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launched import launched
from mlflow import MlflowClient
from mlflow.entities import Run
from patience import PATIENCE_S

from asc.errors import InputError
from asc.runs.journal import read_journal
from asc.tracking.cursor import load_cursor
from asc.tracking.mlflow import MlflowTracker, send_journal

FILES = {"best/model.safetensors", "best/config.toml", "best/model_card.md", "leaderboard.csv"}
Wait = Callable[[Callable[[], bool]], None]


def sent(folder: Path, uri: str, drain_s: float = PATIENCE_S) -> list[str]:
    """Send everything with the thread; return the warnings."""
    warnings: list[str] = []
    tracker = MlflowTracker(folder, uri=uri, on_warning=warnings.append)
    tracker.start()
    shipped = tracker.close(drain_s)
    assert (shipped.pending, shipped.problem) == (0, None)
    return warnings


def runs(uri: str, name: str = "night") -> dict[str | None, Run]:
    """The MLflow runs by trial (None: the parent); checks that no trial has two."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("asc")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], f"tags.`asc.run` LIKE '{name}-%'", max_results=1000)
    by_trial = {run.data.tags.get("asc.trial"): run for run in found}
    assert len(by_trial) == len(found)
    return by_trial


def steps(uri: str, run: Run, key: str) -> list[int]:
    return [metric.step for metric in MlflowClient(uri).get_metric_history(run.info.run_id, key)]


def snapshot(uri: str) -> dict[str | None, Any]:
    """Everything that MLflow holds of a search, except times."""
    return {
        trial: (
            run.info.run_id,
            run.info.status,
            run.data.params,
            run.data.tags,
            {key: steps(uri, run, key) for key in run.data.metrics},
        )
        for trial, run in runs(uri).items()
    }


def artefacts(uri: str, run: Run) -> set[str]:
    client = MlflowClient(uri)
    tops = client.list_artifacts(run.info.run_id)
    inner = [file for top in tops if top.is_dir for file in client.list_artifacts(run.info.run_id, top.path)]
    return {file.path for file in [*tops, *inner] if not file.is_dir}


def a_search(script: Any) -> None:
    script.started()
    script.trial("t000", "completed", 1.2)
    script.trial("t001", "stopped", epochs=1)
    script.trial("t002", "completed", 0.9)
    script.trial("t003", "diverged", epochs=2)
    script.trial("t004", "failed", epochs=1)
    script.files()
    script.run_ended(best="t002")


def test_a_finished_search_is_a_parent_run_with_a_child_for_each_trial(script, database):
    a_search(script)
    assert sent(script.folder, database) == []
    found = runs(database)
    parent, best = found[None], found["t002"]

    assert parent.info.run_name == "night"
    assert parent.data.params == {"budget_kb": "128.0", "seed": "7"}
    assert parent.data.tags["outcome"] == "finished"
    assert parent.data.tags["mlflow.source.git.commit"] == parent.data.tags["git_commit"] == "abc123"
    assert "t002 w16-32 c4 78.3 KB" in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics == {"best_log_loss": 0.9, "best_accuracy": 0.7}
    assert steps(database, parent, "best_log_loss") == [1, 2, 3, 4, 5]
    assert artefacts(database, parent) == FILES

    assert best.info.run_name == "t002 w16-32 c4 78.3 KB"
    assert best.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (best.data.tags["outcome"], best.data.tags["repaired"]) == ("completed", "true")
    assert best.data.params == {
        "seed": "7",
        "architecture.widths.0": "16",
        "schedule.learning_rate_max": "0.001",
        "sampled.architecture.widths.0": "40",
        "bytes": "80128",
        "nonzero_bytes": "80128",
        "file_bytes": "83128",
        "macs_per_second": "12000000",
        "peak_activation_bytes": "400000",
        "parameters": "70000",
        "epochs": "3",
    }
    assert best.data.metrics["log_loss"] == 0.9
    for key in ("train_loss", "valid_log_loss", "valid_accuracy", "learning_rate"):
        assert steps(database, best, f"epoch/{key}") == [1, 2, 3]

    assert {trial: run.info.status for trial, run in found.items()} == {
        None: "FINISHED",
        "t000": "FINISHED",
        "t001": "FINISHED",
        "t002": "FINISHED",
        "t003": "FAILED",
        "t004": "FAILED",
    }
    assert found["t003"].data.tags["reason"] == "it diverged"


def test_times_are_those_of_the_journal(script, database):
    a_search(script)
    sent(script.folder, database)
    entries = read_journal(script.folder / "journal.jsonl")
    parent = runs(database)[None]
    assert parent.info.start_time == round(entries[0].time_s * 1000)
    assert parent.info.end_time == round(entries[-1].time_s * 1000)
    first = MlflowClient(database).get_metric_history(runs(database)["t000"].info.run_id, "epoch/train_loss")[0]
    assert first.timestamp == round(entries[2].time_s * 1000)


def test_a_training_is_one_run_with_the_metrics_of_its_trial(script, database):
    script.started("train")
    script.asked("t000")
    script.epoch("t000", 1)
    script.ended("t000", "completed", 1.1, epochs=1)
    script.files()
    script.run_ended(best="t000")
    sent(script.folder, database)
    found = runs(database)
    assert list(found) == [None]
    run = found[None]
    assert (run.info.status, run.data.tags["outcome"], run.data.tags["asc.kind"]) == ("FINISHED", "completed", "train")
    assert run.data.params["budget_kb"] == "128.0"
    assert run.data.params["architecture.widths.0"] == "16"
    assert (run.data.metrics["log_loss"], run.data.params["bytes"]) == (1.1, "80128")
    assert "mlflow.parentRunId" not in run.data.tags
    assert "best/model.safetensors" in artefacts(database, run)


@pytest.mark.parametrize("rewound", ["lost", "to the start of the last trial"])
def test_a_crash_before_the_cursor_is_saved_duplicates_nothing(script, database, rewound):
    a_search(script)
    sent(script.folder, database)
    before = snapshot(database)
    cursor = script.folder / "mlflow.json"
    if rewound == "lost":
        cursor.unlink()
    else:
        asked = [e for e in read_journal(script.folder / "journal.jsonl") if type(e.event).__name__ == "TrialAsked"]
        cursor.write_text(json.dumps({**json.loads(cursor.read_text()), "offset": asked[-1].end_offset}))
    sent(script.folder, database)
    assert snapshot(database) == before


def test_metrics_sent_before_a_crash_are_not_sent_again(script, database):
    script.started()
    script.asked("t000")
    script.epoch("t000", 1)
    sent(script.folder, database)
    (script.folder / "mlflow.json").unlink()
    script.epoch("t000", 2)
    sent(script.folder, database)
    assert steps(database, runs(database)["t000"], "epoch/train_loss") == [1, 2]


def test_an_emptied_database_gets_everything_again(script, database, empty_database):
    a_search(script)
    sent(script.folder, database)
    Path(database.removeprefix("sqlite:///")).rename(script.folder / "old.db")
    fresh = script.folder / "fresh" / "mlflow.db"
    fresh.parent.mkdir()
    fresh.write_bytes(empty_database.read_bytes())
    cursor = script.folder / "mlflow.json"
    uri = f"sqlite:///{fresh}"
    cursor.write_text(json.dumps({**json.loads(cursor.read_text()), "uri": uri}))
    assert send_journal(script.folder, uri=uri).events == len(read_journal(script.folder / "journal.jsonl"))
    assert len(runs(uri)) == 6


def test_a_resumed_search_reopens_its_runs_and_ends_them(script, database):
    script.started()
    script.trial("t000", "completed", 1.2)
    script.asked("t001")
    script.epoch("t001", 1)
    script.run_ended("interrupted", best="t000")
    sent(script.folder, database)
    interrupted = runs(database)
    assert [interrupted[key].info.status for key in (None, "t000", "t001")] == ["KILLED", "FINISHED", "KILLED"]
    assert interrupted[None].data.tags["outcome"] == "interrupted"

    script.resumed(trials=9)
    sent(script.folder, database)
    resumed = runs(database)
    assert [resumed[key].info.status for key in (None, "t000", "t001")] == ["RUNNING", "FINISHED", "RUNNING"]
    assert resumed[None].data.params["resumed.1.trials"] == "9"

    script.epoch("t001", 2)
    script.ended("t001", "completed", 0.8, epochs=2)
    script.run_ended(best="t001")
    sent(script.folder, database)
    ended = runs(database)
    assert {run.info.status for run in ended.values()} == {"FINISHED"}
    assert {key: run.info.run_id for key, run in ended.items()} == {
        key: run.info.run_id for key, run in interrupted.items()
    }
    assert steps(database, ended["t001"], "epoch/valid_log_loss") == [1, 2]


def test_events_are_sent_while_the_run_goes_on(script, database, eventually: Wait):
    script.started()
    tracker = MlflowTracker(script.folder, uri=database, on_warning=pytest.fail)
    script.journal.listeners.append(lambda entry: tracker.notify())
    tracker.start()
    script.trial("t000", "completed", 1.2)
    eventually(lambda: load_cursor(script.folder, database).offset == script.journal.entries[-1].end_offset)
    assert runs(database)["t000"].info.status == "FINISHED"
    assert tracker.close().events == len(script.journal.entries)


def test_an_unreachable_server_gives_one_warning_and_the_events_wait(script, eventually: Wait):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
    a_search(script)
    warnings: list[str] = []
    tracker = MlflowTracker(script.folder, uri=uri, on_warning=warnings.append)
    tracker.start()
    eventually(lambda: bool(warnings))
    shipped = tracker.close(drain_s=3.0)
    assert (shipped.events, shipped.pending) == (0, len(script.journal.entries))
    assert shipped.problem is not None and uri in shipped.problem and "Connection refused" in shipped.problem
    (warning,) = warnings
    assert str(script.folder / "journal.jsonl") in warning
    assert f"python launch/track.py night --storage {script.folder.parent} --mlflow-uri {uri}" in warning


def test_appending_does_not_wait_for_a_server_that_never_answers(script, eventually: Wait):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        script.started()
        tracker = MlflowTracker(script.folder, uri=uri, on_warning=lambda sentence: None)
        script.journal.listeners.append(lambda entry: tracker.notify())
        tracker.start()
        connection, _ = silent.accept()  # the thread now waits for an answer
        with connection:
            script.trial("t000", "completed", 1.2)
            assert len(read_journal(script.folder / "journal.jsonl")) == 6
            shipped = tracker.close(drain_s=0.5)
        assert shipped.pending == 6 and shipped.problem is not None


def test_an_outage_at_the_start_loses_nothing(script, own_server, eventually: Wait):
    warnings: list[str] = []
    script.started()
    tracker = MlflowTracker(script.folder, uri=own_server.uri, on_warning=warnings.append)
    script.journal.listeners.append(lambda entry: tracker.notify())
    tracker.start()
    eventually(lambda: bool(warnings))
    script.trial("t000", "completed", 1.2)
    own_server.start()
    script.trial("t001", "completed", 0.9)
    script.files()
    script.run_ended(best="t001")
    shipped = tracker.close(drain_s=PATIENCE_S)
    assert (shipped.events, shipped.pending, shipped.problem) == (len(script.journal.entries), 0, None)
    assert len(warnings) == 1
    found = runs(own_server.uri)
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    assert steps(own_server.uri, found["t000"], "epoch/train_loss") == [1, 2, 3]
    assert artefacts(own_server.uri, found[None]) == FILES
    (version,) = MlflowClient(own_server.uri).search_model_versions("name = 'night'")
    assert (version.status, version.run_id) == ("READY", found[None].info.run_id)
    model_id = found[None].outputs.model_outputs[0].model_id
    files = MlflowClient(own_server.uri).list_logged_model_artifacts(model_id)
    assert {"MLmodel", "model_card.md", "artifacts", "code"} <= {file.path for file in files}


def test_a_refusal_is_reported_once_and_not_retried_for_ever(script, server, eventually: Wait):
    server.start()
    eventually(server.answers)
    script.started("search", **{"a?b": 1})
    warnings: list[str] = []
    tracker = MlflowTracker(script.folder, uri=server.uri, on_warning=warnings.append)
    tracker.start()
    shipped = tracker.close(drain_s=PATIENCE_S)
    assert shipped.pending == 1
    assert shipped.problem is not None and "refuses the events" in shipped.problem and "a?b" in shipped.problem
    assert len([w for w in warnings if "refuses the events" in w]) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_damaged_journal_is_reported_by_close(script, database):
    script.started()
    with (script.folder / "journal.jsonl").open("ab") as file:
        file.write(b"{}\n")
    tracker = MlflowTracker(script.folder, uri=database, on_warning=pytest.fail)
    tracker.start()
    problem = tracker.close().problem
    assert problem is not None and "line 2 is damaged" in problem


def test_two_processes_cannot_send_the_same_run(script, database):
    script.started()
    tracker = MlflowTracker(script.folder, uri=database, on_warning=pytest.fail)
    tracker.start()
    with pytest.raises(InputError, match="by another process"):
        send_journal(script.folder, uri=database)
    tracker.close()
    assert send_journal(script.folder, uri=database).events == 0


def track(*arguments: str) -> int:
    return launched("track.py", *arguments)


def test_the_script_sends_what_is_pending(script, database, capsys):
    a_search(script)
    options = ("night", "--storage", str(script.folder.parent), "--mlflow-uri", database)
    assert track(*options) == 0
    printed = capsys.readouterr().out
    assert f"{len(script.journal.entries)} events of night sent to {database}" in printed
    assert "/#/experiments/1/runs?" in printed
    assert track(*options) == 0
    assert "0 events of night" in capsys.readouterr().out


def test_the_script_refuses_unknown_runs_and_dead_servers(script, capsys):
    script.started()
    storage = ("--storage", str(script.folder.parent))
    assert track("day", *storage) == 2
    assert "day/journal.jsonl cannot be read" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as probe:
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
    assert track("night", *storage, "--mlflow-uri", uri) == 2
    assert "1 events of night are still to be sent" in capsys.readouterr().err
    assert track("night", *storage, "--mlflow-uri", "ftp://x") == 2
    assert "--mlflow-uri ftp://x" in capsys.readouterr().err
    assert not any(thread.name == "mlflow" for thread in threading.enumerate())


@pytest.mark.parametrize("best", ["t000", None])
def test_the_report_page_of_a_search_is_sent_with_or_without_a_best_network(
    script: Any, database: str, best: str | None
) -> None:
    script.started()
    script.trial("t000", "completed" if best else "diverged", 1.2)
    (script.folder / "leaderboard.csv").write_text("trial\n")
    (script.folder / "report.html").write_text("<!DOCTYPE html>")
    script.run_ended(best=best)
    sent(script.folder, database)
    assert artefacts(database, runs(database)[None]) == {"leaderboard.csv", "report.html"}
