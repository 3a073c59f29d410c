"""The Pareto front of a search with several objectives: chosen, as a printed table, and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from asc.runs.events import TrialEnded
from asc.runs.record import RunRecord, TrialRecord
from asc.runs.storage import run_bucket
from asc.search import fronts
from asc.search.objectives import LOG_LOSS, costs_of
from asc.size.rules import Rule, counted_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFront:
    """A completed trial that no other beats in all objectives. Bytes are those that the rule counts."""

    trial: str
    log_loss: float
    accuracy: float
    counted_bytes: int
    macs_per_second: int
    peak_activation_bytes: int
    model: str | None


def front_of(record: RunRecord, objectives: tuple[str, ...], rule: Rule) -> tuple[OnFront, ...]:
    """The Pareto front of the completed trials, the lowest log loss first; nothing if there is one objective."""
    if objectives == (LOG_LOSS,):
        return ()
    ended = {name: _figures(trial) for name, trial in record.trials.items()}
    completed = {name: one for name, one in ended.items() if one is not None}
    figures = {
        name: (log_loss, *costs_of(record.trials[name].asked, objectives, rule))
        for name, (_, log_loss, _) in completed.items()
    }
    found = [_on_front(record.trials[name], *completed[name], rule) for name in fronts.front(figures)]
    return tuple(sorted(found, key=lambda one: one.log_loss))


def _figures(trial: TrialRecord) -> tuple[TrialEnded, float, float] | None:
    """The end of a completed trial, its log loss and its accuracy."""
    ended = trial.ended
    if ended is None or ended.outcome != "completed" or ended.log_loss is None or ended.accuracy is None:
        return None
    return ended, ended.log_loss, ended.accuracy


def _on_front(trial: TrialRecord, ended: TrialEnded, log_loss: float, accuracy: float, rule: Rule) -> OnFront:
    return OnFront(
        trial=trial.asked.trial,
        log_loss=log_loss,
        accuracy=accuracy,
        counted_bytes=counted_bytes(rule, trial.asked.predicted),
        macs_per_second=trial.asked.macs_per_second,
        peak_activation_bytes=trial.asked.peak_activation_bytes,
        model=ended.model,
    )


def table(front: Sequence[OnFront], objectives: tuple[str, ...]) -> Table:
    """A printed table: one row for each network of the front."""
    drawn = Table(
        title=f"The Pareto front of {', '.join(objectives)}", title_justify="left", box=SIMPLE_HEAD, padding=0
    )
    for name in ("trial", "log loss", "acc.", "bytes", "MMAC/s", "RAM KB", "model"):
        drawn.add_column(name, justify="left" if name in ("trial", "model") else "right", no_wrap=True)
    for one in front:
        drawn.add_row(
            one.trial,
            f"{one.log_loss:.3f}",
            f"{one.accuracy:.1%}",
            f"{one.counted_bytes:,}",
            f"{one.macs_per_second / 1e6:.1f}",
            f"{one.peak_activation_bytes / 1024:,.0f}",
            one.model or "",
        )
    return drawn


def front_json(one: OnFront, folder: Path) -> dict[str, Any]:
    """A network of the front as one JSON object; `folder` is that of the run, whose models may be in a bucket."""
    bucket = run_bucket(folder)
    return {
        "trial": one.trial,
        "log_loss": one.log_loss,
        "accuracy": one.accuracy,
        "counted_bytes": one.counted_bytes,
        "macs_per_second": one.macs_per_second,
        "peak_activation_bytes": one.peak_activation_bytes,
        "model": None if one.model is None else str(folder / one.model if bucket is None else bucket.at(one.model)),
    }
