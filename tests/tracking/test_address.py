"""Addresses of MLflow: which are accepted, the default, and the commands that use them."""

import shlex
from pathlib import Path

import pytest

from asc.errors import InputError
from asc.tracking.address import artefact_root, check_uri, default_uri, send_command, serve_command, ui_command, ui_url


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:5000", "https://mlflow.example.org/path", "sqlite:////data/mlflow.db", "sqlite:///m.db"]
)
def test_addresses_that_mlflow_can_write_to_pass(uri):
    check_uri(uri)


@pytest.mark.parametrize(
    "uri", ["", "runs", "/data/mlruns", "file:///data", "ftp://x", "http://", "sqlite://", "sqlite:///"]
)
def test_the_error_for_other_addresses_names_the_allowed_forms(uri):
    with pytest.raises(InputError, match="sqlite:////ABSOLUTE/PATH/mlflow.db"):
        check_uri(uri)


def test_a_bad_port_is_refused():
    with pytest.raises(InputError, match="is not an address"):
        check_uri("http://host:port")


def test_a_password_is_refused_and_not_repeated():
    with pytest.raises(InputError, match="MLFLOW_TRACKING_PASSWORD") as raised:
        check_uri("https://me:secret@host")
    assert "secret" not in str(raised.value)


def test_the_default_is_one_database_for_all_runs_with_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_uri(Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    check_uri(default_uri(Path("runs")))


def test_files_are_kept_beside_a_database_or_where_the_server_decides():
    assert artefact_root("sqlite:////data/runs/mlflow.db") == "file:///data/runs/mlartifacts"
    assert artefact_root("http://127.0.0.1:5000") is None


def test_the_command_to_browse_is_quoted_for_a_shell():
    uri = "sqlite:////data/my runs/mlflow.db"
    assert shlex.split(ui_command(uri))[-2:] == ["--backend-store-uri", uri]
    assert ui_command("https://mlflow.example.org") == "https://mlflow.example.org"


def test_the_command_to_serve_listens_on_loopback_and_names_the_database():
    setting, *command = shlex.split(serve_command("sqlite:////data/my runs/mlflow.db", "models:/night/2"))
    assert setting == "MLFLOW_TRACKING_URI=sqlite:////data/my runs/mlflow.db"
    assert command[:5] == ["mlflow", "models", "serve", "-m", "models:/night/2"]
    assert command[command.index("--host") + 1] == "127.0.0.1"


def test_the_page_is_on_the_server_or_on_a_local_one():
    assert ui_url("http://127.0.0.1:8080/", "3").startswith("http://127.0.0.1:8080/#/experiments/3/runs?")
    assert ui_url("sqlite:////data/mlflow.db", "1").startswith("http://127.0.0.1:5000/#/experiments/1/runs?")


def test_the_command_to_send_later_omits_the_default_storage():
    uri = "http://127.0.0.1:5000"
    assert send_command(Path("runs/night"), uri) == f"python launch/track.py night --mlflow-uri {uri}"
    assert "--storage '/my runs'" in send_command(Path("/my runs/night"), uri)
