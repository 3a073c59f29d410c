"""The folder of one evaluation: figures, tables, pictures and predictions, each file whole or not there."""

import json
from pathlib import Path

from asc.console.evaluation_text import About, markdown, tree
from asc.evaluation.evaluate import Predictions
from asc.model_file.tensors import write_together
from asc.report.confusion import confusion_figure
from asc.report.picture import png
from asc.report.predictions import submission
from asc.report.reliability import reliability_figure
from asc.results import Examination

PREDICTIONS, FIGURES, TABLES = "predictions.csv", "evaluation.json", "table.md"
CONFUSION, RELIABILITY, WARNING = "confusion.png", "reliability.png", "OPTIMISTIC.txt"


def write(folder: Path, predictions: Predictions, examination: Examination | None, about: About) -> tuple[Path, ...]:
    """Write everything into the folder that `prepare` made; the files that are there now.

    Without an examination, for clips have no labels, that is the predictions alone. Files of an earlier evaluation are
    removed, also those that this one does not write again.

    Raises:
        OSError: the disk is full; all is as it was.
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
    earlier = {PREDICTIONS, FIGURES, TABLES, CONFUSION, RELIABILITY, WARNING} - set(files)
    write_together(
        {folder / name: data for name, data in files.items()}, outdated=[folder / name for name in sorted(earlier)]
    )
    return tuple(folder / name for name in files)
