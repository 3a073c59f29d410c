"""Draws the confusion matrix: counts in the cells, coloured by their share of the true class."""

import numpy as np
from matplotlib.figure import Figure

from asc.report.picture import canvas
from asc.results import Examination

_MOST_COUNTED = 25


def confusion_figure(examination: Examination, mark: str = "") -> Figure:
    """Draw the confusion matrix: rows are true classes, columns predicted ones; `mark` ends the title.

    With more than 25 classes the counts would not be legible, so they are left out.
    """
    evaluation, labels = examination.evaluation, examination.labels
    counts = np.array(examination.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size_in = 3.2 + 0.55 * min(len(labels), _MOST_COUNTED)
    figure = canvas(size_in + 1.4, size_in)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(labels))
    axes.set_xticks(ticks, labels, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(ticks, labels, parse_math=False)
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class")
    axes.set_title(
        f"Confusion matrix, {evaluation.split} split, {evaluation.clips} clips\n"
        f"accuracy {evaluation.accuracy:.1%} (macro){mark}"
    )
    # Thin white lines between the cells separate neighbours of the same shade.
    axes.set_xticks(np.arange(0.5, len(labels) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(labels) - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    if len(labels) <= _MOST_COUNTED:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.55 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=colour)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    bar.ax.yaxis.set_major_formatter("{x:.0%}")
    bar.outline.set_visible(False)
    return figure
