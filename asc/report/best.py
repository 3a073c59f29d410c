"""What a run's files hold of its best network beyond the journal: figures by class and device, confusion, reliability.

Model files hold the figures of the validation split by class and device. The confusion matrix, the reliability bins and
the misclassified clips are in the folder that an evaluation writes beside the model, as a search does at its end.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from asc.errors import InputError
from asc.model_file.model_header import read_model_file
from asc.report.mistakes import MISTAKES, Mistakes, read_mistakes
from asc.report.trials import Search, Trial
from asc.results import Evaluation, ReliabilityBin
from asc.run_files import BEST_FOLDER, MODEL_FILE
from asc.typed import typed

EVALUATION = f"{BEST_FOLDER}/evaluation-valid/evaluation.json"
# The evaluation may have run on another processor, and a model file rounds; another network differs by more.
_SAME = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Clips of each true class (rows) by the class they were taken for (columns), and the reliability bins."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BestFiles:
    """The validation figures of the best network and of the reference; the best one's matrix and mistakes.

    What is absent is None.
    """

    best: Evaluation | None = None
    reference: Evaluation | None = None
    matrix: Matrix | None = None
    mistakes: Mistakes | None = None


def best_files(search: Search, folder: Path) -> BestFiles:
    """Read what the run's folder holds; a file that is missing or damaged is left out.

    The best network is the saved one: with finals, the shipped one of them.
    """
    best = _figures(search, search.saved, folder)
    matrix = _matrix(folder / EVALUATION, best) if best is not None else None
    return BestFiles(
        best=best,
        reference=_figures(search, search.reference, folder) if search.reference is not search.saved else None,
        matrix=matrix,
        mistakes=None if matrix is None else read_mistakes((folder / EVALUATION).with_name(MISTAKES)),
    )


def _figures(search: Search, trial: Trial | None, folder: Path) -> Evaluation | None:
    """The figures in a trial's model file, or in that of `best/` if it is this trial's."""
    if trial is None or trial.outcome != "completed":
        return None
    places = [folder / trial.model] if trial.model else []
    ended = search.record.ended
    if ended is not None and ended.best == trial.name:
        places.append(folder / BEST_FOLDER / MODEL_FILE)
    for place in places:
        try:
            return read_model_file(place)[0].evaluation
        except InputError:
            continue
    return None


def _matrix(path: Path, best: Evaluation) -> Matrix | None:
    """The matrix of an evaluation, unless it is of another network than `best`."""
    try:
        tree = json.loads(path.read_text("utf-8"))
        if abs(typed(float, tree["log_loss"], "log_loss") - best.log_loss) > _SAME:
            return None
        labels = typed(tuple[str, ...], tree["confusion"]["labels"], "labels")
        counts = typed(tuple[tuple[int, ...], ...], tree["confusion"]["counts"], "counts")
        bins = typed(tuple[ReliabilityBin, ...], tree["reliability"], "reliability")
    except (OSError, ValueError, KeyError, TypeError):  # InputError is a ValueError
        return None
    if len(counts) != len(labels) or any(len(row) != len(labels) for row in counts):
        return None
    return Matrix(labels=labels, counts=counts, reliability=bins)
