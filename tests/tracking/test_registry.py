"""The best model of a run is registered in MLflow once, and again only if the search found a better one."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from patience import PATIENCE_S

from asc.tracking.mlflow import MlflowTracker, send_journal
from asc.tracking.registry import BestModel
from asc.tracking.session import browse


def a_search(script: Any) -> None:
    script.started()
    script.trial("t000", "completed", 1.2)
    script.files(b"first", "# night\n\nThe first card.\n")
    script.run_ended(best="t000")


def logged(uri: str) -> list[LoggedModel]:
    client = MlflowClient(uri)
    return list(client.search_logged_models([client.get_experiment_by_name("asc").experiment_id]))


def versions(uri: str) -> list[ModelVersion]:
    return sorted(MlflowClient(uri).search_model_versions(), key=lambda version: int(version.version))


def sent(script: Any, uri: str) -> None:
    shipped = send_journal(script.folder, uri=uri)
    assert (shipped.problem, shipped.model_waits) == (None, False)


def test_the_best_of_a_search_is_registered_under_its_name_with_its_card(script, database):
    a_search(script)
    sent(script, database)
    (version,), (model,) = versions(database), logged(database)
    assert (version.name, str(version.version), version.status) == ("night", "1", "READY")
    assert version.description == model.tags["mlflow.note.content"] == "# night\n\nThe first card.\n"
    assert version.tags["asc.trial"] == "t000" and version.tags["asc.run"].startswith("night-")
    assert (model.name, model.status, model.source_run_id) == ("night", "READY", version.run_id)
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "night", "version": "1"}]
    run = MlflowClient(database).get_run(version.run_id)
    assert run.data.tags["asc.kind"] == "search"
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert "mlflow models serve -m models:/night/1 --env-manager local --host 127.0.0.1" in browse(
        script.folder, database
    )


@pytest.mark.parametrize("lost", [False, True])
def test_sending_again_does_not_register_again(script, database, lost):
    a_search(script)
    sent(script, database)
    if lost:
        (script.folder / "mlflow.json").unlink()
    sent(script, database)
    (version,), (model,) = versions(database), logged(database)
    outputs = MlflowClient(database).get_run(version.run_id).outputs.model_outputs
    assert [output.model_id for output in outputs] == [model.model_id]


def test_a_better_model_after_a_resume_is_a_second_version(script, database):
    a_search(script)
    sent(script, database)
    script.resumed(trials=9)
    script.trial("t001", "completed", 0.9)
    sent(script, database)
    assert len(versions(database)) == 1, "it has not ended yet"
    script.files(b"better", "# night\n\nThe second card.\n")
    script.run_ended(best="t001")
    sent(script, database)
    assert [(v.tags["asc.trial"], v.description.split()[3]) for v in versions(database)] == [
        ("t000", "first"),
        ("t001", "second"),
    ]
    script.resumed(trials=12)
    script.run_ended(best="t001")
    sent(script, database)
    assert len(versions(database)) == len(logged(database)) == 2, "the best is still the same"


@pytest.mark.parametrize("lost", [False, True])
def test_an_unchanged_best_model_gets_its_new_card_everywhere(script, database, lost, tmp_path):
    a_search(script)
    sent(script, database)
    script.resumed(trials=9)
    script.trial("t001", "completed", 1.9)
    script.files(b"first", "# night\n\nThe best of 2.\n")
    script.run_ended(best="t000")
    if lost:
        (script.folder / "mlflow.json").unlink()
    sent(script, database)
    (version,), (model,) = versions(database), logged(database)
    assert version.description == model.tags["mlflow.note.content"] == "# night\n\nThe best of 2.\n"
    assert version.tags["asc.trial"] == "t000" and str(version.version) == "1"
    beside = Path(version.source.removeprefix("file://"))
    assert (beside / "model_card.md").read_text() == version.description and (beside / "MLmodel").is_file()
    of_run = MlflowClient(database).download_artifacts(version.run_id, "best/model_card.md", str(tmp_path))
    assert Path(of_run).read_text() == version.description


def test_a_new_card_that_could_not_be_sent_is_sent_next_time(script, database, monkeypatch):
    a_search(script)
    sent(script, database)
    script.resumed(trials=9)
    script.files(b"first", "# night\n\nThe best of 2.\n")
    script.run_ended(best="t000")

    def broken(self: MlflowClient, *_: Any) -> None:
        raise OSError("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "update_model_version", broken)
        assert send_journal(script.folder, uri=database).model_waits
    sent(script, database)
    assert [version.description for version in versions(database)] == ["# night\n\nThe best of 2.\n"]


def test_a_trainings_model_is_logged_and_not_registered(script, database):
    script.started("train")
    script.trial("t000", "completed", 1.1)
    script.files()
    script.run_ended(best="t000")
    sent(script, database)
    (model,) = logged(database)
    assert model.status == "READY" and versions(database) == []
    assert f"models serve -m models:/{model.model_id} " in browse(script.folder, database)


def test_a_run_without_a_best_model_registers_none(script, database):
    script.started()
    script.trial("t000", "failed", epochs=1)
    script.run_ended(best=None)
    sent(script, database)
    assert versions(database) == logged(database) == []


def test_an_incomplete_upload_is_completed_next_time(script, database, monkeypatch):
    a_search(script)
    upload = MlflowClient.log_model_artifacts

    def half(self: MlflowClient, model_id: str, local_dir: str) -> None:
        (Path(local_dir) / "MLmodel").unlink()
        upload(self, model_id, local_dir)
        raise OSError("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_model_artifacts", half)
        shipped = send_journal(script.folder, uri=database)
    assert (shipped.pending, shipped.model_waits) == (0, True)
    assert shipped.problem is not None and "cannot be used (the line went dead)" in shipped.problem
    assert [model.status for model in logged(database)] == ["PENDING"] and versions(database) == []
    sent(script, database)
    (version,), (model,) = versions(database), logged(database)
    assert model.status == "READY"
    assert (Path(version.source.removeprefix("file://")) / "MLmodel").is_file()


def test_a_registry_that_refuses_gives_one_warning_and_the_run_is_still_sent(script, database, monkeypatch):
    a_search(script)
    warnings: list[str] = []

    def refuse(self: MlflowClient, name: str, **_: Any) -> None:
        raise MlflowException("you may not register models", PERMISSION_DENIED)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_registered_model", refuse)
        tracker = MlflowTracker(script.folder, uri=database, on_warning=warnings.append)
        tracker.start()
        for _ in range(3):
            tracker.notify()
        shipped = tracker.close(PATIENCE_S)
    assert (shipped.pending, shipped.problem) == (0, None)
    (warning,) = warnings
    assert "refuses the model (" in warning and "you may not register models" in warning
    assert "python launch/track.py night" in warning
    assert versions(database) == []
    sent(script, database)
    assert len(versions(database)) == len(logged(database)) == 1


def test_a_slow_upload_is_reported_and_does_not_block(script, database, monkeypatch, eventually):
    a_search(script)
    begun, go_on = threading.Event(), threading.Event()
    upload = MlflowClient.log_model_artifacts

    def slow(self: MlflowClient, model_id: str, local_dir: str) -> None:
        begun.set()
        go_on.wait(PATIENCE_S)
        upload(self, model_id, local_dir)

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", slow)
    tracker = MlflowTracker(script.folder, uri=database, on_warning=pytest.fail)
    tracker.start()
    assert begun.wait(PATIENCE_S)
    shipped = tracker.close(drain_s=0.2)
    assert (shipped.pending, shipped.model_waits) == (0, True)
    assert shipped.problem is not None and "is slow" in shipped.problem
    go_on.set()
    eventually(lambda: not any(thread.name == "mlflow" for thread in threading.enumerate()))
    sent(script, database)
    assert len(versions(database)) == len(logged(database)) == 1


def test_a_long_card_is_cut_at_a_line_end_and_says_where_the_rest_is():
    line = "| weights | 109,320 |\n"
    best = BestModel(run="n", run_key="n-1", run_id="1", trial="t", data=b"", card="# n\n" + line * 400, register=True)
    assert len(best.description) <= 5000
    kept, end = best.description.split("\n\nCut here; ")
    assert set(kept.splitlines()[1:]) == {line.strip()} and "model_card.md" in end
