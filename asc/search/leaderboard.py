"""The leaderboard: the trials of a run ranked, as CSV, as JSON and as a printed table.

It holds no times, so that two equal searches give equal leaderboards. Seconds are in the journal and in MLflow.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from asc.config.space import Space
from asc.model_file.tensors import write_bytes
from asc.run_files import LEADERBOARD_CSV, LEADERBOARD_JSON
from asc.runs.finals import finals_of
from asc.runs.record import RunRecord, TrialRecord
from asc.search.finalists import finals_json
from asc.size.rules import Rule, counted_bytes
from asc.topology.describe import NARROWED
from asc.training_results import OutcomeKind
from asc.typed import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trial. Completed trials are ranked by the stored network's validation figure; the others have no rank.

    A trial that was not completed shows the log loss (nats) and accuracy (0 to 1) of its last epoch. One whose
    `outcome` is "paused" or "unfinished" can be resumed. `predicted_bytes` is what the rule counts before training,
    from the size law; `counted_bytes` is what it counts on the trained network; `size_bytes` is everything stored,
    pruned zeros included. `calibrated` is None if no calibration was asked for or the trial was not completed, and
    False if calibration did not help. `earlier` is the trial of an earlier run (`--warm-start`), or the point of the
    space's portfolio, that was tried again, `budget_kb` the budget that the trial was asked for, in a search of
    several. `final` is what the retraining of a finalist has found. The 95 % intervals are None for trials that were
    not completed, and if none are known.
    """

    rank: int | None
    trial: str
    outcome: OutcomeKind | str
    log_loss: float | None
    accuracy: float | None
    log_loss_low: float | None
    log_loss_high: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    predicted_bytes: int
    counted_bytes: int | None
    size_bytes: int
    macs_per_second: int
    peak_activation_bytes: int
    parameters: int
    epochs: int
    repaired: bool
    reference: bool
    calibrated: bool | None
    config: dict[str, Scalar]
    earlier: str | None = None
    budget_kb: float | None = None
    final: Mapping[str, object] | None = None


def leaderboard(record: RunRecord, space: Space, rule: Rule) -> list[Row]:
    """All trials in the order of `RunRecord.ranked`; bytes are counted by `rule`."""
    rows = [_row(rank, trial, list(space.sampled), rule) for rank, trial in record.ranked()]
    finals = {str(one["trial"]): one for one in finals_json(finals_of(record))}
    return [dataclasses.replace(row, final=finals.get(row.trial)) for row in rows]


def write(rows: Sequence[Row], folder: Path) -> None:
    """Write `leaderboard.csv` and `leaderboard.json`, each atomically."""
    write_bytes(folder / LEADERBOARD_JSON, json.dumps(as_json(rows), indent=1).encode())
    text = io.StringIO()
    flat = list(map(flat_row, rows))
    columns = list(dict.fromkeys(key for row in flat for key in row))  # families have other keys
    writer = csv.DictWriter(text, fieldnames=columns or ["rank"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    write_bytes(folder / LEADERBOARD_CSV, text.getvalue().encode())


def flat_row(row: Row) -> dict[str, object]:
    """A row as the CSV file has it: the values of its config and of its final are columns too."""
    return {**_plain(row, without=("config", "final")), **row.config, **_final_columns(row)}


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The rows as plain dicts; only finalists have the key `final`."""
    return [_plain(row, without=("final",) if row.final is None else ()) for row in rows]


def _plain(row: Row, *, without: Collection[str]) -> dict[str, object]:
    return {key: value for key, value in dataclasses.asdict(row).items() if key not in without}


def _final_columns(row: Row) -> dict[str, object]:
    """The columns of the CSV file that only finalists fill."""
    return {f"final_{key}": value for key, value in (row.final or {}).items() if key not in ("trial", "seeds")}


def table(rows: Sequence[Row]) -> Table:
    """A table for 80 columns. "@6": the trial got to epoch 6. "f16 25%": float16 weights, 25% of them pruned.

    After a figure stands its 95 % interval; with several budgets a trial's budget takes the place of the accuracy's.
    The bytes were counted on the stored network or, if the trial has none, predicted.
    """
    drawn = Table(title=_TITLE, title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False)
    several = any(row.budget_kb is not None for row in rows)
    columns = (*_COLUMNS[:2], ("KB", True), *_COLUMNS[2:6], *_COLUMNS[7:]) if several else _COLUMNS
    for name, justify in columns:
        # Where a row is too wide, the share of pruned weights takes a line of its own, and no figure is cut.
        drawn.add_column(name, justify="right" if justify else "left", no_wrap=name != "weights")
    for row in rows:
        drawn.add_row(
            "" if row.rank is None else str(row.rank),
            row.trial + (" ref." if row.reference else " warm" if row.earlier else ""),
            *(["" if row.budget_kb is None else f"{row.budget_kb:g}"] if several else []),
            row.outcome + (f" @{row.epochs}" if row.outcome in ("stopped", "paused", "unfinished") else ""),
            "" if row.log_loss is None else f"{row.log_loss:.3f}",
            _ends(row.log_loss_low, row.log_loss_high, ".2f"),
            "" if row.accuracy is None else f"{row.accuracy:.1%}",
            *([] if several else [_ends(row.accuracy_low, row.accuracy_high, ".0%")]),
            f"{row.counted_bytes or row.predicted_bytes:,}",
            _widths(row.config),
            _storage(row.config),
        )
    return drawn


def _ends(low: float | None, high: float | None, kind: str) -> str:
    """The ends of an interval, or nothing: `0.49-0.60`, `71-80%`."""
    return "" if low is None or high is None else f"{low:{kind}}-{high:{kind}}".replace("%-", "-")


_TITLE = "Leaderboard (validation split, stored networks, 95 % intervals over locations)"
_COLUMNS = (
    ("#", True),
    ("trial", False),
    ("outcome", False),
    ("log loss", True),
    ("95 %", True),
    ("acc.", True),
    ("95 %", True),
    ("bytes", True),
    ("widths", True),
    ("weights", False),
)


def _widths(config: dict[str, Scalar]) -> str:
    return "-".join(str(value) for key, value in config.items() if key.startswith(NARROWED))


def _storage(config: dict[str, Scalar]) -> str:
    pruned = float(config["compression.prune_ratio"])
    name = "f16" if config["compression.storage"] == "float16" else "int8"
    return f"{name} {pruned:.0%}" if pruned else name


def _row(rank: int | None, trial: TrialRecord, sampled: list[str], rule: Rule) -> Row:
    asked, ended = trial.asked, trial.ended
    last = trial.epochs[max(trial.epochs)] if trial.epochs else None
    done = ended is not None and ended.outcome == "completed"
    log_loss, accuracy = (ended.log_loss_interval, ended.accuracy_interval) if ended else (None, None)
    return Row(
        rank=rank,
        trial=asked.trial,
        outcome=trial.state,
        log_loss=ended.log_loss if ended and done else (last.valid_log_loss if last else None),
        accuracy=ended.accuracy if ended and done else (last.valid_accuracy if last else None),
        log_loss_low=log_loss.low if log_loss else None,
        log_loss_high=log_loss.high if log_loss else None,
        accuracy_low=accuracy.low if accuracy else None,
        accuracy_high=accuracy.high if accuracy else None,
        predicted_bytes=counted_bytes(rule, asked.predicted),
        counted_bytes=counted_bytes(rule, ended.built) if ended and ended.built else None,
        size_bytes=asked.size_bytes,
        macs_per_second=asked.macs_per_second,
        peak_activation_bytes=asked.peak_activation_bytes,
        parameters=asked.parameters,
        epochs=last.epoch if last else 0,
        repaired=asked.repaired,
        reference=asked.reference,
        calibrated=ended.calibrated if ended else None,
        earlier=asked.earlier,
        budget_kb=asked.budget_kb,
        config={key: value for key, value in asked.config.items() if _shown(key, sampled)},
    )


def _shown(key: str, sampled: list[str]) -> bool:
    """Whether a config key has a column: widths (repair changes them), weight storage, and everything sampled."""
    always = (*NARROWED, "compression.storage", "compression.prune_ratio", "calibration.method")
    return key.startswith(always) or any(key == s or key.startswith(f"{s}.") for s in sampled)
