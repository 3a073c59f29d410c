"""Figures of the best network: bars by class and device beside the reference, confusion matrix, reliability diagram.

The diagram is that of Guo et al. 2017 (https://arxiv.org/abs/1706.04599, fig. 1).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from asc.report.best import BestFiles, Matrix
from asc.report.colours import BLUE, GREY, VERMILION
from asc.report.plot import Figure, plain, rounded
from asc.results import GroupFigures

_MOST_COUNTED = 25


def best_figures(files: BestFiles) -> Iterator[Figure]:
    """The figures that a run's files allow."""
    if files.best is not None:
        others = files.reference
        if files.best.per_class:
            yield _bars("classes", "Accuracy by class", files.best.per_class, others.per_class if others else ())
        if len(files.best.per_device) > 1:
            yield _bars("devices", "Accuracy by device", files.best.per_device, others.per_device if others else ())
    if files.matrix is not None:
        yield _confusion(files.matrix)
        yield _reliability(files.matrix)


def _bars(key: str, title: str, best: Sequence[GroupFigures], reference: Sequence[GroupFigures]) -> Figure:
    rows = [("reference", reference, GREY), ("best", best, BLUE)]
    bars: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": [plain(row.name) for row in reversed(figures)],
            "x": [rounded(row.accuracy) for row in reversed(figures)],
            "text": [
                f"{row.accuracy:.0%}, log loss {row.log_loss:.2f}, {row.clips} clips" for row in reversed(figures)
            ],
            "textposition": "none",
            "hoverinfo": "text+name",
            "marker": {"color": color},
        }
        for name, figures, color in rows
        if figures
    ]
    return Figure(
        key=key,
        title=title,
        data=bars,
        layout={
            "barmode": "group",
            "xaxis": {"tickformat": ".0%", "range": [0, 1]},
            "yaxis": {"automargin": True, "type": "category"},
            "legend": {"orientation": "h", "traceorder": "reversed", "yref": "container", "y": 0, "yanchor": "bottom"},
        },
        height_px=130 + 34 * len(best),
    )


def _confusion(matrix: Matrix) -> Figure:
    shares = [[rounded(count / max(1, sum(row))) for count in row] for row in matrix.counts]
    names = [plain(label) for label in matrix.labels]
    texts = [[str(count) if count else "" for count in row] for row in matrix.counts]
    return Figure(
        key="confusion",
        title="Confusion matrix: clips",
        data=[
            {
                "type": "heatmap",
                "z": shares,
                "x": names,
                "y": names,
                "text": texts,
                **({"texttemplate": "%{text}"} if len(names) <= _MOST_COUNTED else {}),
                "hovertemplate": "true: %{y}<br>taken for: %{x}<br>%{z:.0%}<extra></extra>",
                "colorscale": [[0, "white"], [1, BLUE]],  # Plotly's own "Blues" has the darkest blue at 0
                "zmin": 0,
                "zmax": 1,
                "showscale": False,
            }
        ],
        layout={
            "xaxis": {"title": {"text": "taken for", "standoff": 12}, "type": "category", "automargin": True},
            "yaxis": {
                "title": {"text": "true class", "standoff": 12},
                "type": "category",
                "automargin": True,
                "autorange": "reversed",
            },
        },
        height_px=260 + 24 * min(len(names), 40),
    )


def _reliability(matrix: Matrix) -> Figure:
    rows = [row for row in matrix.reliability if row.clips]
    return Figure(
        key="reliability",
        title="Reliability",
        data=[
            {
                "type": "bar",
                "name": "accuracy of the bin",
                "x": [rounded((row.low + row.high) / 2) for row in rows],
                "y": [rounded(row.accuracy) for row in rows],
                "width": [rounded(row.high - row.low) for row in rows],
                "text": [f"{row.clips} clips" for row in rows],
                "textposition": "none",
                "hoverinfo": "text+x+y",
                "marker": {"color": BLUE, "opacity": 0.75},
            },
            {
                "type": "scatter",
                "mode": "markers",
                "name": "mean confidence",
                "x": [rounded(row.confidence) for row in rows],
                "y": [rounded(row.accuracy) for row in rows],
                "hoverinfo": "x+y",
                "marker": {"color": VERMILION, "size": 8},
            },
            {
                "type": "scatter",
                "mode": "lines",
                "name": "well calibrated",
                "x": [0, 1],
                "y": [0, 1],
                "hoverinfo": "skip",
                "line": {"color": GREY, "dash": "dash"},
            },
        ],
        layout={
            "xaxis": {"title": {"text": "confidence"}, "range": [0, 1], "tickformat": ".0%"},
            "yaxis": {"title": {"text": "accuracy"}, "range": [0, 1.02], "tickformat": ".0%"},
        },
    )
