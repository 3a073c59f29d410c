"""Formats predictions as a system output of DCASE 2021 task 1a: tab-separated, with a header.

The columns are filename, scene_label and the probability of each class, in alphabetical order, as the official
baseline writes them (https://github.com/marmoi/dcase2021_task1a_baseline). dcase_util reads such files.
"""

import csv
import io

from asc.console.cli import shown
from asc.evaluation.evaluate import Predictions


def submission(predictions: Predictions) -> str:
    """Return the file's text; `scene_label` is the most probable class."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(["filename", "scene_label", *predictions.labels])
    best = predictions.probabilities.argmax(axis=1).tolist()
    for name, number, row in zip(predictions.filenames, best, predictions.probabilities.tolist(), strict=True):
        writer.writerow([shown(name), predictions.labels[number], *(f"{probability:.9g}" for probability in row)])
    return text.getvalue()
