"""Draws the reliability diagram of Guo et al. 2017 (https://arxiv.org/abs/1706.04599, fig. 1) and a histogram."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asc.report.colours import BLUE, GREY, VERMILION
from asc.report.picture import canvas
from asc.results import Examination, ReliabilityBin


def reliability_figure(examination: Examination, mark: str = "") -> Figure:
    """Draw accuracy and number of clips against confidence, in the bins of the expected calibration error.

    A bar below the diagonal means that the network is over-confident. `mark` ends the title.
    """
    evaluation = examination.evaluation
    figure = canvas(6, 7)
    diagram, histogram = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _diagram(diagram, [row for row in examination.reliability if row.clips])
    _histogram(histogram, examination.reliability)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    diagram.set_title(
        f"Reliability, {evaluation.split} split, {evaluation.clips} clips\n"
        f"expected calibration error {evaluation.calibration_error:.3f}{mark}"
    )
    return figure


def _diagram(axes: Axes, rows: Sequence[ReliabilityBin]) -> None:
    """Draw a bar for the accuracy of each bin, and a line from its end to the mean confidence."""
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="well calibrated")
    lefts, widths = [row.low for row in rows], [row.high - row.low for row in rows]
    accuracies = [row.accuracy or 0.0 for row in rows]
    confidences = [row.confidence or 0.0 for row in rows]
    axes.bar(
        lefts, accuracies, widths, align="edge", color=BLUE, alpha=0.75, edgecolor="white", label="accuracy of the bin"
    )
    axes.vlines(confidences, accuracies, confidences, color=VERMILION, linewidth=2)
    axes.plot(confidences, accuracies, "o", color=VERMILION, markersize=5, label="gap at the mean confidence")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    axes.spines[["top", "right"]].set_visible(False)


def _histogram(axes: Axes, rows: Sequence[ReliabilityBin]) -> None:
    lefts, widths = [row.low for row in rows], [row.high - row.low for row in rows]
    bars = axes.bar(lefts, [row.clips for row in rows], widths, align="edge", color=GREY, edgecolor="white")
    axes.bar_label(bars, [str(row.clips) if row.clips else "" for row in rows], fontsize=8, color=GREY)
    axes.margins(y=0.2)
    axes.set(xlabel="confidence (highest probability)", ylabel="clips")
    axes.spines[["top", "right"]].set_visible(False)
