"""The saved views of the experiment, compared with MLflow's own page. `tests/test_browser.py` opens them."""

import json
from pathlib import Path

import mlflow
import pytest

from asc.config.experiment import Experiment
from asc.runs.record import fold
from asc.tracking.address import SEARCHES_VIEW, TRIALS_VIEW, search_view, ui_url
from asc.tracking.content import run_key
from asc.tracking.view import view_of_search, views

PREFIX = "mlflow.sharedViewState."


def states() -> dict[str, dict]:
    """The states within the envelopes, by the view's key."""
    return {tag.removeprefix(PREFIX): json.loads(json.loads(value)["state"]) for tag, value in views(1).items()}


@pytest.fixture(scope="module")
def page() -> str:
    """The JavaScript of the installed MLflow's page."""
    folder = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"
    return "\n".join(path.read_text("utf-8") for path in folder.glob("*.js"))


def test_the_page_knows_the_tag_the_address_and_every_key_of_the_views(page):
    assert f'"{PREFIX}"' in page
    for key in ("viewStateShareKey", "workflowType"):
        assert f"{key}=" in ui_url("http://127.0.0.1", "1")
        assert f'"{key}"' in page
    assert '"machine_learning"' in page
    for state in states().values():
        charts, sections = state["compareRunCharts"], state["compareRunSections"]
        for key in {*state, *charts[0], *sections[0]}:
            assert f'"{key}"' in page or f"{key}:" in page or f".{key}" in page, key


def test_the_envelope_has_the_keys_of_a_saved_view():
    for value in views(17).values():
        envelope = json.loads(value)
        assert {"name", "createdAt", "updatedAt", "state"} == set(envelope)
        assert envelope["createdAt"] == 17


def test_children_stay_under_their_parent_only_in_the_order_of_creation_and_without_a_filter():
    nested = states()[SEARCHES_VIEW]
    assert (nested["orderByKey"], nested["searchFilter"]) == ("attributes.start_time", "")
    best_first = states()[TRIALS_VIEW]
    assert (best_first["orderByKey"], best_first["orderByAsc"]) == ("metrics.`log_loss`", True)


def test_every_column_and_axis_is_one_that_trials_have():
    content = (Path(__file__).parents[2] / "asc" / "tracking" / "content.py").read_text("utf-8")
    for state in states().values():
        for column in state["selectedColumns"]:
            name = column.partition(".")[2].strip("`").removeprefix("epoch/")
            assert column == "duration" or name in Experiment().flat() or f'"{name}"' in content
        for axis in state["compareRunCharts"][0]["selectedParams"]:
            assert axis in Experiment().flat() or f'"{axis}"' in content


def test_the_view_of_one_search_shows_its_trials_alone_and_its_own_parameters(script):
    script.started()
    assert view_of_search(fold(script.journal.entries)) == {}, "its parameters are not known yet"
    script.asked("t000")
    record = fold(script.journal.entries)
    ((tag, value),) = view_of_search(record).items()
    assert tag == f"{PREFIX}{search_view(run_key(record))}"
    state = json.loads(value)
    assert state["searchFilter"] == f"tags.`asc.run` = '{run_key(record)}' AND tags.`asc.kind` = 'trial'"
    (chart,) = state["compareRunCharts"]
    assert chart["selectedMetrics"] == ["log_loss"]
    assert set(chart["selectedParams"]) == {"seed", "architecture.widths.0", "schedule.learning_rate_max"}


def test_a_training_has_no_view_of_its_own(script):
    script.started("train")
    script.asked("t000")
    assert view_of_search(fold(script.journal.entries)) == {}
