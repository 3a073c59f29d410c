"""Figures of a search: quality against size and work, learning curves, and the best value reached."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from asc.report.colours import BLUE, GREEN, GREY, PURPLE, SKY, VERMILION, YELLOW
from asc.report.plot import OUTCOME_COLOURS, Figure, plain, rounded
from asc.report.trials import Search, Trial

Cost = Literal["kilobytes", "mmacs_per_s"]
Value = Literal["log_loss", "accuracy"]
COSTS: tuple[Cost, ...] = ("kilobytes", "mmacs_per_s")
_MOST_POINTS = 60_000  # of all curves together; beyond, only every n-th epoch is drawn, and the ends of cycles
VALUES: tuple[Value, ...] = ("log_loss", "accuracy")
_COST_TITLES: Mapping[Cost, str] = {
    "kilobytes": "KB, as the rule counts them",
    "mmacs_per_s": "MMAC per second of audio",
}
_VALUE_TITLES: Mapping[Value, str] = {"log_loss": "log loss (nats)", "accuracy": "accuracy"}


def pareto(trials: Iterable[Trial], cost: Cost, value: Value) -> list[Trial]:
    """The trials that no other one beats in both cost and value, cheapest first."""
    sign = 1.0 if value == "log_loss" else -1.0
    front: list[Trial] = []
    reached = math.inf
    for trial in sorted(trials, key=lambda one: (getattr(one, cost), sign * getattr(one, value))):
        if (found := sign * getattr(trial, value)) < reached:
            reached = found
            front.append(trial)
    return front


def tradeoff(search: Search, cost: Cost, value: Value) -> Figure:
    """A value against a cost for the completed trials, with the limit, the front and the reference."""
    completed, front = search.completed, pareto(search.completed, cost, value)
    others = [trial for trial in search.trials if trial.rank is None and trial.log_loss is not None]
    reference = [trial for trial in completed if trial.reference]
    limit = search.limit_kb if cost == "kilobytes" else search.most_mmacs_per_s
    smaller = search.smaller_kb if cost == "kilobytes" else ()
    name = "Log loss" if value == "log_loss" else "Accuracy"
    traces = [
        {**_points(others, cost, value, name="not completed: last epoch", color=GREY), "visible": "legendonly"},
        _points(completed, cost, value, name="completed", color=BLUE),
        {**_points(front, cost, value, name="front", color=VERMILION, size=9), "mode": "lines+markers"},
        _points(reference, cost, value, name="reference", color="black", symbol="diamond-open", size=13),
    ]
    return Figure(
        key=f"{value}-{cost}",
        title=f"{name} against {'size' if cost == 'kilobytes' else 'work'}",
        data=[trace for trace in traces if trace["x"]],
        layout={
            "xaxis": {"title": {"text": _COST_TITLES[cost]}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": _VALUE_TITLES[value]}, **_percent(value)},
            **_lines_at(limit, "budget" if cost == "kilobytes" else "limit", smaller),
        },
    )


def curves(search: Search) -> Figure:
    """The validation log loss of every trial by epoch, with the ends of cycles, the rungs, and crosses at stops."""
    best, reference = search.best, search.reference
    step, kept = math.ceil(search.epochs / _MOST_POINTS) or 1, {*search.cycle_ends, *search.rungs}
    lines = []
    for outcome, color in OUTCOME_COLOURS.items():
        shown = [trial for trial in search.trials if trial.outcome == outcome and trial not in (best, reference)]
        if any(trial.curve for trial in shown):
            thin = [_thinned(trial, step, kept) for trial in shown]
            lines.append(_curve(thin, name=outcome, color=color, width=1.2, opacity=0.45))
    ends = [trial for trial in search.trials if trial.outcome == "stopped" and trial.curve]
    if ends:
        lines.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "stopped here",
                "x": [max(trial.curve) for trial in ends],
                "y": [rounded(trial.curve[max(trial.curve)]) for trial in ends],
                "text": [plain(trial.name) for trial in ends],
                "hoverinfo": "text+x+y",
                "marker": {"symbol": "x", "size": 7, "color": YELLOW},
            }
        )
    if reference is not None and reference.curve and reference is not best:
        lines.append(_curve([reference], name=f"reference ({reference.name})", color="black", width=2, dash="dash"))
    if best is not None and best.curve:
        lines.append(_curve([best], name=f"best ({best.name})", color=GREEN, width=3))
    marks = [_upright(epoch, GREY, "dot") for epoch in search.cycle_ends]
    marks += [_upright(epoch, VERMILION, "dash") for epoch in search.rungs]
    return Figure(
        key="curves",
        title="Learning curves",
        data=lines,
        layout={
            "xaxis": {"title": {"text": "epoch"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "validation log loss (nats)"}},
            "shapes": marks,
        },
        height_px=460,
    )


def reached(searches: Sequence[Search]) -> Figure:
    """The best log loss reached against the epochs that all trials of a search had trained."""
    palette = (BLUE, VERMILION, GREEN, YELLOW, PURPLE, SKY, "black")
    lines = []
    for number, search in enumerate(searches):
        steps = [(one.epochs, one.log_loss, one.trial) for one in search.reached]
        if steps:
            steps.append((search.epochs, steps[-1][1], steps[-1][2]))  # the line goes on to the end of the search
        lines.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": plain(search.name),
                "x": [epochs for epochs, _, _ in steps],
                "y": [rounded(log_loss) for _, log_loss, _ in steps],
                "text": [plain(trial) for _, _, trial in steps],
                "hoverinfo": "text+x+y",
                "line": {"shape": "hv", "color": palette[number % len(palette)]},
            }
        )
    return Figure(
        key="reached",
        title="Best log loss against epochs spent",
        data=lines,
        layout={
            "xaxis": {"title": {"text": "epochs trained, all trials together"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "best log loss so far (nats)"}},
            "showlegend": len(searches) > 1,
        },
    )


def _points(
    trials: Sequence[Trial],
    cost: Cost,
    value: Value,
    *,
    name: str,
    color: str,
    symbol: str = "circle",
    size: int = 7,
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [rounded(getattr(trial, cost)) for trial in trials],
        "y": [rounded(getattr(trial, value)) for trial in trials],
        "text": [plain(trial.name) for trial in trials],
        "hoverinfo": "text+x+y",
        "marker": {"color": color, "symbol": symbol, "size": size},
    }


def _thinned(trial: Trial, step: int, kept: set[int]) -> Trial:
    """A trial with every `step`-th epoch of its curve, its last one, and those in `kept`."""
    last = max(trial.curve, default=0)
    curve = {epoch: loss for epoch, loss in trial.curve.items() if epoch % step == 0 or epoch == last or epoch in kept}
    return replace(trial, curve=curve)


def _curve(
    trials: Sequence[Trial], *, name: str, color: str, width: float, opacity: float = 1.0, dash: str = "solid"
) -> dict[str, Any]:
    """One trace for the curves of several trials, with a gap after each."""
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for trial in trials:
        x += [*trial.curve, None]
        y += [*map(rounded, trial.curve.values()), None]
        text += [plain(trial.name)] * len(trial.curve) + [""]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(name),
        "x": x,
        "y": y,
        "text": text,
        "hoverinfo": "text+x+y",
        "line": {"color": color, "width": width, "dash": dash},
        "opacity": opacity,
    }


def _percent(value: Value) -> dict[str, Any]:
    return {"tickformat": ".0%", "minallowed": 0, "maxallowed": 1} if value == "accuracy" else {}


def _lines_at(limit: float | None, name: str, smaller: Sequence[float]) -> dict[str, Any]:
    """A line at a limit, with its name, and one at each of the smaller ones."""
    if limit is None:
        return {}
    every = {**{at: f"{at:g}" for at in smaller}, limit: f"{name} {limit:g}"}
    shared = {"y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False}
    return {
        "shapes": [_upright(at, "black", "dash") for at in every],
        "annotations": [{"x": at, "text": text, **shared} for at, text in every.items()],
    }


def _upright(x: float, color: str, dash: str) -> dict[str, Any]:
    line = {"color": color, "width": 1, "dash": dash}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line, "layer": "below"}
