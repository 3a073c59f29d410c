"""The submission file as read by another program."""

import csv
import io

import numpy as np

from asc.evaluation.evaluate import Predictions
from asc.report.predictions import submission


def test_columns_are_those_of_task_1a_and_probabilities_are_exact(predictions: Predictions) -> None:
    text = submission(predictions)
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    assert list(rows[0]) == ["filename", "scene_label", *predictions.labels]
    assert [row["filename"] for row in rows] == list(predictions.filenames)
    found = np.array([[float(row[label]) for label in predictions.labels] for row in rows])
    np.testing.assert_allclose(found, predictions.probabilities, rtol=1e-8)
    best = predictions.probabilities.argmax(axis=1)
    assert [row["scene_label"] for row in rows] == [predictions.labels[number] for number in best]
    assert text.endswith("\n") and "\r" not in text


def test_a_file_name_with_a_tab_stays_one_cell() -> None:
    odd = Predictions(filenames=("a\tb.wav",), labels=("x", "y"), probabilities=np.array([[1.0, 1e-30]]))
    (row,) = csv.DictReader(io.StringIO(submission(odd)), delimiter="\t")
    assert row == {"filename": "a\tb.wav", "scene_label": "x", "x": "1", "y": "1e-30"}
