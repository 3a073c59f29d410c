import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from mlflow import MlflowClient
from mlflow.entities import Param

from asc.tracking.content import Figure, Head, Update
from asc.tracking.store import FAILURES, MlflowStore, is_refusal, problem
from asc.tracking.view import VIEW_TAG

HEAD = Head(trial=None, name="night", start_ms=1, tags={"asc.run": "night-1"})


def failure(uri: str) -> Exception:
    with pytest.raises(FAILURES) as raised:
        MlflowStore(uri, "night-1")
    return raised.value


def test_the_experiment_has_its_view_and_keeps_files_beside_the_database(database, tmp_path):
    MlflowStore(database, "night-1")
    experiment = MlflowClient(database).get_experiment_by_name("asc")
    assert experiment.artifact_location == f"file://{tmp_path}/store/mlartifacts"
    assert VIEW_TAG in experiment.tags


def test_a_view_that_a_person_changed_is_left_alone(database):
    experiment = MlflowStore(database, "night-1").experiment_id
    MlflowClient(database).set_experiment_tag(experiment, VIEW_TAG, "mine")
    MlflowStore(database, "night-2")
    assert MlflowClient(database).get_experiment(experiment).tags[VIEW_TAG] == "mine"


def test_many_params_and_long_values_fit(database, tmp_path):
    store = MlflowStore(database, "night-1")
    params = {f"key.{n}": "v" for n in range(250)} | {"long": "x" * 9000, "empty": ""}
    store.write([Update(head=HEAD, time_ms=2, params=params, status="RUNNING")], tmp_path)
    found = MlflowClient(database).get_run(store.parent_run_id).data.params
    assert len(found) == 252
    assert found["long"].endswith("...") and len(found["long"]) == 6000


def test_steps_up_to_the_last_are_not_sent_again_with_other_values(database, tmp_path):
    for values in ((1.0, 2.0), (5.0, 6.0, 7.0)):
        store = MlflowStore(database, "night-1")
        figures = [Figure(key="train_loss", value=value, step=step) for step, value in enumerate(values, 1)]
        store.write([Update(head=HEAD, time_ms=step, figures=(f,)) for step, f in enumerate(figures)], tmp_path)
    history = MlflowClient(database).get_metric_history(store.parent_run_id, "train_loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 2.0), (3, 7.0)]


def test_a_file_that_is_no_database_cannot_be_reached(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    error = failure(f"sqlite:///{tmp_path}/mlflow.db")
    assert not is_refusal(error)
    assert "cannot be reached (file is not a database)" in problem("sqlite:///x", error)


def test_what_mlflow_says_no_to_is_a_refusal(database, tmp_path):
    store = MlflowStore(database, "night-1")
    store.write([Update(head=HEAD, time_ms=2, params={"a": "1"})], tmp_path)
    client = MlflowClient(database)
    with pytest.raises(FAILURES) as raised:
        client.log_batch(store.parent_run_id, params=[Param("a", "2")])
    assert is_refusal(raised.value)


@pytest.mark.parametrize(
    ("status", "body", "refused"),
    [
        (401, {"error_code": "UNAUTHENTICATED", "message": "who are you"}, True),
        (404, "<html>some other site</html>", True),
        (429, {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "later"}, False),
        (500, "out of order", False),
        (503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "starting"}, False),
    ],
)
def test_a_server_that_answers_no_is_told_from_one_that_is_not_well(monkeypatch, status, body, refused):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    text = body if isinstance(body, str) else json.dumps(body)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        error = failure(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    assert is_refusal(error) == refused
