"""Figures of the searched parameters: log loss against each, parallel coordinates over all, and their importance."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from asc.config.space import FAMILY, Choice, FloatRange, Parameter
from asc.report.colours import BLUE, VERMILION
from asc.report.importance import Importance
from asc.report.plot import MOST_TRIALS, Figure, plain, rounded
from asc.report.trials import Search, Trial
from asc.typed import Scalar

_MOST_AXES = 24


def by_parameter(search: Search) -> list[Figure]:
    """For each searched parameter with several values, the log loss of the completed trials against it."""
    if search.space is None:
        return []
    found = []
    for key, parameter in search.space.sampled.items():
        trials = [trial for trial in search.completed[:MOST_TRIALS] if key in trial.values]
        if len({trial.values[key] for trial in trials}) > 1:
            found.append(_against(key, parameter, trials))
    return found


def parallel(search: Search) -> list[Figure]:
    """Parallel coordinates of the completed trials over their parameters and log loss; one figure for each family."""
    space = search.space
    if space is None:
        return []
    figures = []
    for family in space.families or [None]:
        own = space if family is None else space.of_family(family)
        trials = [trial for trial in search.completed[:MOST_TRIALS] if family in (None, trial.values.get(FAMILY))]
        varied = {
            key: parameter
            for key, parameter in own.sampled.items()
            if all(key in trial.values for trial in trials) and len({trial.values[key] for trial in trials}) > 1
        }
        if len(trials) > 1 and varied:
            figures.append(_parallel(trials, varied, family))
    return figures


def importance_bars(found: Importance) -> Figure:
    """The shares of the parameters, most important on top."""
    keys = [key for key in reversed(found.shares)]
    return Figure(
        key="importance",
        title="Importance of the parameters",
        data=[
            {
                "type": "bar",
                "orientation": "h",
                "x": [rounded(found.shares[key]) for key in keys],
                "y": [plain(key) for key in keys],
                "hoverinfo": "x+y",
                "marker": {"color": BLUE},
            }
        ],
        layout={
            "xaxis": {"title": {"text": "share of the importance"}, "tickformat": ".0%"},
            "yaxis": {"automargin": True, "type": "category"},
            "showlegend": False,
        },
        height_px=120 + 22 * len(keys),
    )


def _against(key: str, parameter: Parameter, trials: Sequence[Trial]) -> Figure:
    numeric = all(_is_number(trial.values[key]) for trial in trials)
    axis: dict[str, Any] = {"title": {"text": plain(key)}, "automargin": True}
    if isinstance(parameter, FloatRange) and parameter.log:
        axis |= {"type": "log"}
    elif not numeric:
        axis |= {"type": "category"}
    elif isinstance(parameter, Choice):
        axis |= {"tickvals": sorted(parameter.options)}
    best = trials[0]  # completed trials are in order of rank
    return Figure(
        key=f"parameter-{key}",
        title=key,
        data=[
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [trial.values[key] if numeric else plain(trial.values[key]) for trial in shown],
                "y": [rounded(trial.log_loss) for trial in shown],
                "text": [plain(trial.name) for trial in shown],
                "hoverinfo": "text+x+y",
                "marker": {"color": color, "size": size, "opacity": 0.7},
            }
            for name, shown, color, size in (("completed", trials, BLUE, 6), ("best", [best], VERMILION, 10))
        ],
        layout={"xaxis": axis, "yaxis": {"title": {"text": "log loss"}}, "showlegend": False},
        height_px=260,
    )


def _parallel(trials: Sequence[Trial], varied: Mapping[str, Parameter], family: str | None) -> Figure:
    keys = list(varied)[:_MOST_AXES]
    losses = [rounded(trial.log_loss) for trial in trials]
    axes = [_axis(key, varied[key], [trial.values[key] for trial in trials]) for key in keys]
    return Figure(
        key=f"parallel-{family or 'all'}",
        title=f"Parallel coordinates{f', {family}' if family else ''}",
        data=[
            {
                "type": "parcoords",
                "dimensions": [*axes, {"label": "log loss", "values": losses}],
                "line": {"color": losses, "colorscale": "Viridis", "reversescale": True, "showscale": False},
                "labelangle": -25,
                "labelside": "bottom",
            }
        ],
        layout={"margin": {"l": 60, "r": 60, "t": 30, "b": 110}},
        height_px=460,
        least_width_px=90 * (len(axes) + 1),
    )


def _axis(key: str, parameter: Parameter, values: Sequence[Scalar]) -> dict[str, Any]:
    """One axis of the parallel coordinates: numbers, logarithms, or places in a list of texts."""
    label = plain(key.removeprefix("architecture.").removeprefix("schedule."))
    if not all(map(_is_number, values)):
        names = sorted({_text(value) for value in values})
        ticks = {"tickvals": list(range(len(names))), "ticktext": [plain(name) for name in names]}
        return {"label": label, "values": [names.index(_text(value)) for value in values], **ticks}
    numbers = [float(value) for value in values]
    if isinstance(parameter, FloatRange) and parameter.log:
        low, high = math.log10(min(numbers)), math.log10(max(numbers))
        places = [low + (high - low) * step / 4 for step in range(5)]
        ticks = {"tickvals": places, "ticktext": [f"{10**place:.2g}" for place in places]}
        return {"label": label, "values": [rounded(math.log10(number)) for number in numbers], **ticks}
    return {"label": label, "values": [rounded(number) for number in numbers]}


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Scalar) -> str:
    return value if isinstance(value, str) else json.dumps(value)
