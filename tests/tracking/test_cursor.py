"""The cursor: how much of a journal one MLflow has received."""

import pytest

from asc.tracking.cursor import Cursor, load_cursor, save_cursor

URI = "http://127.0.0.1:5000"


def test_a_cursor_is_read_back(tmp_path):
    cursor = Cursor(uri=URI, offset=17, experiment_id="1", parent_run_id="abc")
    save_cursor(tmp_path, cursor)
    assert load_cursor(tmp_path, URI) == cursor
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.json"]


def test_the_cursor_for_another_mlflow_is_at_the_start(tmp_path):
    save_cursor(tmp_path, Cursor(uri=URI, offset=17))
    assert load_cursor(tmp_path, "sqlite:////data/mlflow.db") == Cursor(uri="sqlite:////data/mlflow.db")


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"uri": 3}', '{"uri": "http://127.0.0.1:5000", "offset": "x"}'])
def test_a_lost_or_damaged_cursor_is_at_the_start(tmp_path, text):
    if text is not None:
        (tmp_path / "mlflow.json").write_text(text)
    assert load_cursor(tmp_path, URI) == Cursor(uri=URI)
