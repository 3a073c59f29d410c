"""What MLflow is told: the changes of one run that one event of a journal makes, and how figures and texts are written.

Figures are rounded, because MLflow's tables show every digit.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from asc.typed import Scalar

Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
RUN_TAG, TRIAL_TAG, SEARCH_TAG = "asc.run", "asc.trial", "search"
CURVES = "epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One value of a metric; `step` is an epoch or a number of trials."""

    key: str
    value: float
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is needed to create an MLflow run; `trial` is None for the run of a whole search or training."""

    trial: str | None
    name: str
    start_ms: int
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What one event changes in one MLflow run. `with_files` means that the run's result files are sent too.

    A run that ends did so at `end_ms`, or at `time_ms` if that is None.
    """

    head: Head
    time_ms: int
    end_ms: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    status: Status | None = None
    with_files: bool = False


def figures(values: Mapping[str, float | None], step: int) -> tuple[Figure, ...]:
    """The rounded figures of those metrics that have a value, at one step."""
    return tuple(Figure(key=key, value=rounded(value), step=step) for key, value in values.items() if value is not None)


def rounded(value: float) -> float:
    """A figure to four digits after the point, or to four significant digits if it is below 0.1; NaN stays NaN."""
    return round(value, 4) if abs(value) >= 0.1 else float(f"{value:.4g}")


def texts(values: Mapping[str, Scalar]) -> dict[str, str]:
    """Values as params: a text stays as it is, all else is JSON."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def milliseconds(seconds: float) -> int:
    """Seconds in MLflow's unit of time."""
    return round(seconds * 1000)
