"""The best network within each of several budgets: chosen, as a printed table, and as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from asc.run_files import MODEL_FILE
from asc.runs.folder import best_folder
from asc.runs.record import RunRecord, TrialRecord
from asc.search.settings import SearchSettings
from asc.size.rules import Rule, counted_bytes, limit_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BestWithin:
    """The best completed trial within a budget (None: there is none), and the reference of that budget.

    `counted_bytes` are those of the best trial. The reference is the largest completed one that fits.
    """

    budget_kb: float
    trial: TrialRecord | None = None
    counted_bytes: int | None = None
    reference: TrialRecord | None = None

    def figures(self) -> tuple[float | None, float | None, float | None]:
        """The log loss (nats) and accuracy (0 to 1) of the best trial, and the log loss of the reference."""
        best = None if self.trial is None else self.trial.ended
        reference = None if self.reference is None else self.reference.ended
        return (
            None if best is None else best.log_loss,
            None if best is None else best.accuracy,
            None if reference is None else reference.log_loss,
        )


def best_within(record: RunRecord, rule: Rule, settings: SearchSettings) -> tuple[BestWithin, ...]:
    """The best trial within each budget, the smallest budget first; nothing if the search has only one.

    A trial counts for every budget that holds its bytes, whichever it was asked for.
    """
    if settings.budgets_kb is None:
        return ()
    return tuple(_best(record, rule, budget_kb) for budget_kb in reversed(settings.budgets))


def _best(record: RunRecord, rule: Rule, budget_kb: float) -> BestWithin:
    limit = limit_bytes(rule, budget_kb)
    fitting = [trial for trial in record.completed() if counted_bytes(rule, trial.asked.predicted) <= limit]
    references = [trial for trial in fitting if trial.asked.reference]
    return BestWithin(
        budget_kb=budget_kb,
        trial=fitting[0] if fitting else None,
        counted_bytes=counted_bytes(rule, fitting[0].asked.predicted) if fitting else None,
        reference=max(references, key=lambda trial: counted_bytes(rule, trial.asked.predicted), default=None),
    )


def table(every: tuple[BestWithin, ...]) -> Table:
    """A printed table: one row for each budget."""
    drawn = Table(title="The best within each budget", title_justify="left", box=SIMPLE_HEAD, padding=0)
    for name in ("budget KB", "trial", "log loss", "acc.", "bytes", "reference", "saved in"):
        drawn.add_column(name, justify="left" if name in ("trial", "saved in") else "right", no_wrap=True)
    for cells in map(_cells, every):
        drawn.add_row(*cells)
    return drawn


def _cells(one: BestWithin) -> Iterator[str]:
    log_loss, accuracy, reference = one.figures()
    yield f"{one.budget_kb:g}"
    yield "none" if one.trial is None else one.trial.asked.trial
    yield "" if log_loss is None else f"{log_loss:.3f}"
    yield "" if accuracy is None else f"{accuracy:.1%}"
    yield "" if one.counted_bytes is None else f"{one.counted_bytes:,}"
    yield "" if reference is None else f"{reference:.3f}"
    yield "" if one.trial is None else f"{best_folder(one.budget_kb)}/"


def within_json(one: BestWithin, folder: Path) -> dict[str, Any]:
    """The best within a budget as one JSON object; `folder` is that of the run."""
    log_loss, accuracy, reference = one.figures()
    return {
        "budget_kb": one.budget_kb,
        "trial": None if one.trial is None else one.trial.asked.trial,
        "log_loss": log_loss,
        "accuracy": accuracy,
        "counted_bytes": one.counted_bytes,
        "reference_log_loss": reference,
        "model": None if one.trial is None else str(folder / best_folder(one.budget_kb) / MODEL_FILE),
    }
