"""The saved view of the experiment, compared with MLflow's own page."""

import json
from pathlib import Path

import mlflow
import pytest

from asc.config.experiment import Experiment
from asc.tracking.address import VIEW, ui_url
from asc.tracking.view import VIEW_TAG, view_state


@pytest.fixture(scope="module")
def page() -> str:
    """The JavaScript of the installed MLflow's page."""
    folder = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"
    return "\n".join(path.read_text("utf-8") for path in folder.glob("*.js"))


def test_the_page_knows_the_tag_the_address_and_every_key_of_the_view(page):
    prefix = VIEW_TAG.removesuffix(VIEW)
    assert f'"{prefix}"' in page
    for key in ("viewStateShareKey", "workflowType"):
        assert f"{key}=" in ui_url("http://127.0.0.1", "1")
        assert f'"{key}"' in page
    assert '"machine_learning"' in page
    for key in json.loads(json.loads(view_state(1))["state"]):
        assert f'"{key}"' in page or f"{key}:" in page


def test_the_envelope_has_the_keys_of_a_saved_view(page):
    envelope = json.loads(view_state(17))
    assert {"name", "createdAt", "updatedAt", "state"} == set(envelope)
    assert envelope["createdAt"] == 17


def test_every_column_is_a_metric_tag_or_config_key_that_trials_have():
    columns = json.loads(json.loads(view_state(1))["state"])["selectedColumns"]
    content = (Path(__file__).parents[2] / "asc" / "tracking" / "content.py").read_text("utf-8")
    for column in columns:
        kind, key = column.split(".", 1)
        name = key.strip("`")
        assert name in Experiment().flat() if kind == "params" else f'"{name}"' in content
