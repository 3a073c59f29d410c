"""The leaderboard: a run's journal as a ranking, as CSV, as JSON and as a table for people.

It holds no times, so that two equal searches give equal leaderboards; seconds are in the journal and in MLflow.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from asc.checkpoint import write_bytes
from asc.journal import RunRecord, TrialRecord
from asc.results import OutcomeKind
from asc.space import Space
from asc.typed import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trial. Completed ones are ranked by the stored network's validation log loss; the others have no rank.

    A trial that was stopped shows the log loss and accuracy of its last epoch; `outcome` "unfinished" can be resumed.
    """

    rank: int | None
    trial: str
    outcome: OutcomeKind | str
    log_loss: float | None
    accuracy: float | None
    size_bytes: int
    built_bytes: int | None
    macs_per_second: int
    peak_activation_bytes: int
    parameters: int
    epochs: int
    repaired: bool
    reference: bool
    config: dict[str, Scalar]


def leaderboard(record: RunRecord, space: Space) -> list[Row]:
    """All trials: completed ones by log loss, then stopped ones by how far and how well they got, then the rest."""
    completed = record.completed()
    others = [trial for trial in record.trials.values() if trial not in completed]
    others.sort(key=lambda trial: (-max(trial.epochs, default=0), _last_log_loss(trial), trial.asked.trial))
    ranked: list[tuple[int | None, TrialRecord]] = [*enumerate(completed, start=1), *((None, t) for t in others)]
    return [_row(rank, trial, list(space.sampled)) for rank, trial in ranked]


def write(rows: Sequence[Row], folder: Path) -> None:
    """Write `leaderboard.csv` and `leaderboard.json`, each atomically."""
    write_bytes(folder / "leaderboard.json", json.dumps(as_json(rows), indent=1).encode())
    text = io.StringIO()
    flat = [{**{k: v for k, v in dataclasses.asdict(row).items() if k != "config"}, **row.config} for row in rows]
    writer = csv.DictWriter(text, fieldnames=list(flat[0]) if flat else ["rank"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    write_bytes(folder / "leaderboard.csv", text.getvalue().encode())


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The rows as plain dicts."""
    return [dataclasses.asdict(row) for row in rows]


def table(rows: Sequence[Row], unit_bytes: int) -> Table:
    """A table for a terminal, `unit_bytes` being the rule's KB; "@6" is the epoch that a trial got to."""
    drawn = Table(title="Leaderboard (validation split, stored networks)", title_justify="left")
    for name, justify in _COLUMNS:
        drawn.add_column(name, justify="right" if justify else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(
            "" if row.rank is None else str(row.rank),
            row.trial + (" ref." if row.reference else ""),
            row.outcome + (f" @{row.epochs}" if row.outcome in ("stopped", "unfinished") else ""),
            "" if row.log_loss is None else f"{row.log_loss:.3f}",
            "" if row.accuracy is None else f"{row.accuracy:.1%}",
            f"{row.size_bytes / unit_bytes:.1f}",
            f"{row.macs_per_second / 1e6:.1f}",
            _widths(row.config),
        )
    return drawn


_COLUMNS = (
    ("#", True),
    ("trial", False),
    ("outcome", False),
    ("log loss", True),
    ("acc.", True),
    ("KB", True),
    ("MMAC/s", True),
    ("widths", True),
)


def _widths(config: dict[str, Scalar]) -> str:
    return "-".join(str(value) for key, value in config.items() if key.startswith("architecture.widths"))


def _row(rank: int | None, trial: TrialRecord, sampled: list[str]) -> Row:
    asked, ended = trial.asked, trial.ended
    last = trial.epochs[max(trial.epochs)] if trial.epochs else None
    done = ended is not None and ended.outcome == "completed"
    return Row(
        rank=rank,
        trial=asked.trial,
        outcome=ended.outcome if ended else "unfinished",
        log_loss=ended.log_loss if ended and done else (last.valid_log_loss if last else None),
        accuracy=ended.accuracy if ended and done else (last.valid_accuracy if last else None),
        size_bytes=asked.size_bytes,
        built_bytes=ended.built_bytes if ended else None,
        macs_per_second=asked.macs_per_second,
        peak_activation_bytes=asked.peak_activation_bytes,
        parameters=asked.parameters,
        epochs=last.epoch if last else 0,
        repaired=asked.repaired,
        reference=asked.reference,
        config={key: value for key, value in asked.config.items() if _shown(key, sampled)},
    )


def _shown(key: str, sampled: list[str]) -> bool:
    """Widths always (repair changes them), and what was sampled, whole tuples included."""
    return key.startswith("architecture.widths") or any(key == s or key.startswith(f"{s}.") for s in sampled)


def _last_log_loss(trial: TrialRecord) -> float:
    return trial.epochs[max(trial.epochs)].valid_log_loss if trial.epochs else float("inf")
