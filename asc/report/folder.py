"""Writes the folder of an evaluation: figures, tables, pictures and predictions, each file completely or not at all."""

import json
from pathlib import Path

from asc.console.evaluation_text import About, markdown, tree
from asc.evaluation.evaluate import Predictions
from asc.model_file.tensors import write_together
from asc.report.confusion import confusion_figure
from asc.report.mistakes import MISTAKES, Mistakes, as_bytes
from asc.report.picture import png
from asc.report.predictions import submission
from asc.report.reliability import reliability_figure
from asc.results import Examination

PREDICTIONS, FIGURES, TABLES = "predictions.csv", "evaluation.json", "table.md"
CONFUSION, RELIABILITY, WARNING = "confusion.png", "reliability.png", "OPTIMISTIC.txt"


def write(
    folder: Path,
    predictions: Predictions,
    examination: Examination | None,
    about: About,
    mistakes: Mistakes | None = None,
) -> tuple[Path, ...]:
    """Write an evaluation's files into an existing folder, and return their paths.

    Without an examination (clips without labels) only the predictions are written. All files of an earlier evaluation
    are replaced or removed.

    Raises:
        OSError: a file cannot be written, such as on a full disk; the folder is left unchanged.
    """
    files = {PREDICTIONS: submission(predictions).encode()}
    if examination is not None:
        files[FIGURES] = (json.dumps(tree(examination, about), indent=1, allow_nan=False) + "\n").encode()
        files[TABLES] = markdown(examination, about).encode()
        files[CONFUSION] = png(confusion_figure(examination, about.mark))
        files[RELIABILITY] = png(reliability_figure(examination, about.mark))
    if about.optimistic:
        files[WARNING] = (
            f"{about.model} is optimistic: it was calibrated on test clips. So is all that lies here.\n".encode()
        )
    if mistakes is not None:
        files[MISTAKES] = as_bytes(mistakes)
    earlier = {PREDICTIONS, FIGURES, TABLES, CONFUSION, RELIABILITY, WARNING, MISTAKES} - set(files)
    write_together(
        {folder / name: data for name, data in files.items()}, outdated=[folder / name for name in sorted(earlier)]
    )
    return tuple(folder / name for name in files)
