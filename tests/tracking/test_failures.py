"""Messages for an MLflow that does not answer, refuses or is something else, and for an unusable database."""

import json
import re
import shlex
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Param
from mlflow_server import Server
from patience import PATIENCE_S

from asc.tracking.failures import failures, is_refusal, problem
from asc.tracking.mlflow import send_journal
from asc.tracking.store import MlflowStore
from asc.tracking.update import Head, Update

ROOT = Path(__file__).resolve().parents[2]
HEAD = Head(trial=None, name="night", start_ms=1, tags={"asc.run": "night-1"})
PAGE = "<html>some other site</html>"
OTHER = "but not as MLflow does .*some other site.*the address of an MLflow server"
LOGIN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


def failure(uri: str) -> Exception:
    with pytest.raises(failures()) as raised:
        MlflowStore(uri, "night-1")
    return raised.value


def said(uri: str) -> str:
    return problem(uri, failure(uri))


@contextmanager
def answering(status: int, text: str) -> Iterator[str]:
    """The address of a server that always gives this answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def coded(code: str, message: str) -> str:
    return json.dumps({"error_code": code, "message": message})


@pytest.mark.parametrize(
    ("status", "body", "refused", "verdict"),
    [
        (401, coded("UNAUTHENTICATED", "who are you"), True, f"refuses the events with 401 .*who are you.*{LOGIN}"),
        (
            401,
            "You are not authenticated",
            True,
            f"with 401 .You are not authenticated.: {LOGIN}",
        ),
        (403, coded("PERMISSION_DENIED", "not yours"), True, f"refuses the events with 403 .*not yours.*{LOGIN}"),
        (403, "Forbidden by a proxy", True, f"refuses the events with 403 .*{LOGIN}"),
        (404, PAGE, True, f"answers 404, {OTHER}"),
        (200, PAGE, False, f"answers 200, {OTHER}"),
        (
            400,
            coded("INVALID_PARAMETER_VALUE", "no"),
            True,
            "events with 400 .*INVALID_PARAMETER_VALUE: no",
        ),
        (429, coded("REQUEST_LIMIT_EXCEEDED", "later"), False, "429"),
        (500, "out of order", False, "answers 500: see its log"),
        (503, coded("TEMPORARILY_UNAVAILABLE", "starting"), False, "answers 503: see its log"),
    ],
)
def test_the_message_for_a_server_that_answers_gives_its_answer(
    status: int, body: str, refused: bool, verdict: str
) -> None:
    with answering(status, body) as uri:
        error = failure(uri)
    assert is_refusal(error) == refused
    sentence = problem(uri, error)
    assert re.match(f"MLflow at {uri} .*{verdict}", sentence), sentence
    assert "reached" not in sentence


def test_a_server_that_rejects_the_host_name_gets_advice_on_allowed_hosts() -> None:
    refusal = "Invalid Host header - possible DNS rebinding attack detected"
    with answering(403, refusal) as uri:
        error = failure(uri)
    port = uri.rpartition(":")[2]
    assert problem(uri, error) == (
        f"MLflow at {uri} answers 403 ({refusal}): start its server with --allowed-hosts "
        f"'127.0.0.1:{port},localhost:*,127.0.0.1:*'"
    )
    for asked, host in (
        ("http://MLflow", "mlflow"),
        ("http://mlflow:80/path", "mlflow"),
        ("https://mlflow.example.org:443", "mlflow.example.org"),
        ("https://mlflow:5000", "mlflow:5000"),
        ("http://[fd7a::1]:5000", "[fd7a::1]:5000"),
    ):
        assert f"'{host},localhost:*,127.0.0.1:*'" in problem(asked, error)


def test_the_allowed_hosts_option_lets_a_real_server_be_reached_by_another_name(
    script,
    server: Server,
    own_server: Server,
    eventually: Callable[[Callable[[], bool]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Start the installed server with its defaults first, then with the option that the message and the page give."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(round(PATIENCE_S)))
    script.started()
    server.start()
    eventually(server.answers)
    refused = send_journal(script.folder, uri=server.uri_by_another_name).problem
    assert refused is not None and "answers 403 (Invalid Host header" in refused, refused
    option, value = shlex.split(refused[refused.index("--allowed-hosts") :])
    (documented,) = set(re.findall(r"--allowed-hosts '([^']*)'", (ROOT / "docs" / "mlflow.md").read_text("utf-8")))
    assert value == documented.replace("mlflow:5000", f"127.1:{server.port}")

    own_server.start(option, documented.replace("mlflow:5000", f"127.1:{own_server.port}"))
    eventually(own_server.answers)
    for uri in (own_server.uri_by_another_name, own_server.uri):
        assert send_journal(script.folder, uri=uri).problem is None


def test_a_stopped_server_and_one_that_never_answers_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert re.match(f"MLflow at {uri} does not answer .*timed out", said(uri))
    assert re.match(f"MLflow at {uri} cannot be reached .*refused", said(uri))


def test_an_unusable_database_is_reported_with_its_cause(tmp_path: Path, database: str) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    error = failure(f"sqlite:///{tmp_path}/mlflow.db")
    assert not is_refusal(error)
    assert problem("sqlite:///x", error) == "MLflow's database sqlite:///x cannot be used (file is not a database)"

    uri = f"sqlite:///{tmp_path}/mlflow.db/deeper/mlflow.db"
    assert f"cannot be sent to MLflow at {uri}: {tmp_path}/mlflow.db" in said(uri)
    assert "Not a directory" in said(uri)

    store = MlflowStore(f"{database}?timeout=0.1", "night-1")
    holder = sqlite3.connect(database.removeprefix("sqlite:///"))
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(failures()) as raised:
        store.write([Update(head=HEAD, time_ms=2)], tmp_path)
    holder.close()
    assert "cannot be used (database is locked)" in problem(database, raised.value)


def test_a_request_that_mlflow_rejects_is_a_refusal(database: str, tmp_path: Path) -> None:
    store = MlflowStore(database, "night-1")
    store.write([Update(head=HEAD, time_ms=2, params={"a": "1"})], tmp_path)
    client = MlflowClient(database)
    with pytest.raises(failures()) as raised:
        client.log_batch(store.parent_run_id, params=[Param("a", "2")])
    assert is_refusal(raised.value) and "refuses the events (" in problem(database, raised.value)


def test_faults_of_this_machine_are_not_blamed_on_mlflow(script, database: str, file_size_limit) -> None:
    script.started()
    script.trial("t000", "completed", 1.2)
    size = len((script.folder / "journal.jsonl").read_bytes())
    (script.folder / "mlflow.json.tmp").mkdir()
    shipped = send_journal(script.folder, uri=database)
    assert shipped.problem == (
        f"the events cannot be sent to MLflow at {database}: {script.folder}/mlflow.json cannot be used (Is a "
        "directory): look for it in this machine's log"
    )
    assert (shipped.pending, len((script.folder / "journal.jsonl").read_bytes())) == (6, size)
    (script.folder / "mlflow.json.tmp").rmdir()
    with file_size_limit(100):
        full = send_journal(script.folder, uri=database).problem
    assert full is not None and "full" in full, full
    assert send_journal(script.folder, uri=database).problem is None


@pytest.mark.parametrize(("key", "reason"), [(None, "Unable to locate credentials"), ("key", "Could not connect to")])
def test_an_unusable_bucket_for_files_is_reported(
    script, database: str, monkeypatch: pytest.MonkeyPatch, key: str | None, reason: str
) -> None:
    """The experiment keeps its files in a bucket, to which MLflow's client writes directly."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
        if key is not None and name != "AWS_PROFILE":
            monkeypatch.setenv(name, key)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(script.folder / "none"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    # boto3 and MLflow cache credentials and clients; MLflow's cache is by endpoint.
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:9/{key}")
    MlflowClient(database).create_experiment("asc", artifact_location="s3://nobody/files")
    script.started()
    script.files()
    script.run_ended(best="t000")
    shipped = send_journal(script.folder, uri=database)
    assert shipped.problem is not None and reason in shipped.problem
    assert shipped.problem.startswith(f"the bucket in which MLflow at {database} keeps files cannot be used (")
    assert shipped.pending == 2
