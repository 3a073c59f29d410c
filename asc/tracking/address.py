"""The address of MLflow: its URI, the folder of its files, and the commands and the page to look at it.

MLflow is a sqlite file by default and a server by choice; MLflow 3 refuses its old plain-folder store
(https://mlflow.org/docs/latest/self-hosting/architecture/backend-store).
"""

import shlex
from pathlib import Path
from urllib.parse import urlsplit

from asc.errors import InputError
from asc.launchers import command
from asc.runs.storage import storage_option

EXPERIMENT = "asc"
# The keys of the saved views of asc.tracking.view; the numbers change with what the views show.
TRIALS_VIEW, SEARCHES_VIEW = "asc-trials-4", "asc-searches-4"
_SQLITE = "sqlite:///"
OFF = "none"


def default_uri(storage: Path) -> str:
    """The URI of the sqlite file that all runs under `storage` share."""
    return f"{_SQLITE}{(storage / 'mlflow.db').resolve()}"


def is_database(uri: str) -> bool:
    """Whether a URI that `check_uri` accepts names a database file rather than a server."""
    return uri.startswith(_SQLITE)


def check_uri(uri: str | None) -> None:
    """Check the form of an MLflow URI (None: the default; `OFF`: no tracking), without connecting to it.

    Raises:
        InputError: the URI is neither http(s) nor sqlite, names no host or file, or holds a user or password.
    """
    forms = "give http://HOST:PORT, https://HOST, or sqlite:////ABSOLUTE/PATH/mlflow.db"
    if uri in (None, OFF):
        return
    assert uri is not None
    if uri.startswith("sqlite:"):
        if not uri.startswith(_SQLITE) or uri == _SQLITE:
            raise InputError(f"--mlflow-uri {uri} names no database file: {forms}")
        return
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"--mlflow-uri {uri} is not an address ({error}): {forms}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"--mlflow-uri {uri} is not an address of an MLflow server or database: {forms}")
    if parts.username or parts.password:
        raise InputError(
            f"--mlflow-uri for {host} holds a user or password, which would end up in logs: "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        )


def artefact_root(uri: str) -> str | None:
    """The folder for files, as a file URI beside the sqlite file; None for a server, which chooses its own."""
    if not is_database(uri):
        return None
    return (Path(uri.removeprefix(_SQLITE)).resolve().parent / "mlartifacts").as_uri()


def ui_command(uri: str) -> str:
    """How to browse MLflow: a command for a sqlite file (on 127.0.0.1 only), the address itself for a server."""
    if not is_database(uri):
        return uri
    return f"mlflow ui --host 127.0.0.1 --port 5000 --backend-store-uri {shlex.quote(uri)}"


def search_view(run_key: str) -> str:
    """The key of the view of one search alone, which differs between searches of one name."""
    return f"{TRIALS_VIEW}-{run_key}"


def ui_url(uri: str, experiment_id: str, view: str = TRIALS_VIEW) -> str:
    """The URL of a saved view of the runs: by default the trials of all searches, best first."""
    base = "http://127.0.0.1:5000" if is_database(uri) else uri.rstrip("/")
    return f"{base}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={view}"


def serve_command(uri: str, model_uri: str) -> str:
    """The command that serves a model (on 127.0.0.1 only), with the packages that are installed here."""
    model = f"-m {shlex.quote(model_uri)} --env-manager local --host 127.0.0.1 --port 5001"
    return f"MLFLOW_TRACKING_URI={shlex.quote(uri)} mlflow models serve {model}"


def send_command(run_folder: Path, uri: str) -> str:
    """The command that sends the events of a run later."""
    named = f"{shlex.quote(run_folder.name)}{storage_option(run_folder)}"
    return f"{command('track')} {named} --mlflow-uri {shlex.quote(uri)}"
