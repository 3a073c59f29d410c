"""Tables and --json objects for sizes, size rules, evaluations and calibrations; imports no torch."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.table import Table

from asc.console.evaluation_text import About, sheets
from asc.console.sheet import Sheet, as_table
from asc.results import CalibrationMethod, CalibrationReport, Evaluation
from asc.size.items import Item
from asc.size.law import Cost
from asc.size.rules import RULES, Rule, counted_bytes, fits, limit_bytes, why_not
from asc.training_results import Completed

_KINDS = {
    "band_norm": "means and deviations of the bands",
    "weight": "weights",
    "bias": "biases",
    "weight_scale": "weight scales, one per output channel",
    "batch_norm": "batch norms",
    "se": "SE weights and biases",
    "se_batch_norm": "SE bottleneck batch norm",
    "response_norm": "response norms",
    "sub_spectral_norm": "sub-spectral norms",
    "activation_scale": "activation scales",
    "activation_zero_point": "activation zero points",
}


def size_table(size: Cost) -> Table:
    """Return what a network stores, summed by kind, as a table for the terminal."""
    return as_table(size_sheet(size))


def size_sheet(size: Cost) -> Sheet:
    """Return what a network stores, summed by kind."""
    rows = tuple((_KINDS[kind], f"{n:,}", str(each), f"{total:,}") for kind, n, each, total in _by_kind(size.items))
    footer = [("total", f"{size.stored.parameters:,}", "", _kilobytes(size.stored.size_bytes))]
    if any(size.pruned.values()):
        footer += [
            ("pruned to zero", f"-{count:,}", str(each), f"-{each * count:,}") for each, count in size.pruned.items()
        ]
        footer.append(("not zero", f"{size.stored.nonzero_parameters:,}", "", _kilobytes(size.stored.nonzero_bytes)))
    footer.append(("model file", "", "", _kilobytes(size.stored.file_bytes)))
    columns = ("item", "count", "bytes each", "bytes")
    return Sheet(title="Stored items", columns=columns, rows=rows, footer=tuple(footer))


def _kilobytes(size_bytes: int) -> str:
    return f"{size_bytes:,} = {size_bytes / 1024:.2f} KB (1,024)"


def rules_table(size: Cost, budget_kb: float) -> Table:
    """Return the counted bytes, the limit and the verdict of every accounting rule, as a table for the terminal."""
    table = Table(title=f"Within {budget_kb:g} KB?", title_justify="left")
    for name in ("rule", "counted", "limit", "fits"):
        table.add_column(name, justify="right" if name in ("counted", "limit") else "left")
    for row in rules_sheet(size, budget_kb).rows:
        table.add_row(*row)
    return table


def rules_sheet(size: Cost, budget_kb: float) -> Sheet:
    """Return the counted bytes, the limit and the verdict of every accounting rule."""

    def row(rule: Rule) -> tuple[str, ...]:
        reason = why_not(rule, size, budget_kb)
        verdict = "yes" if reason is None else f"no: {reason.partition(': ')[2]}"
        return rule.name, f"{counted_bytes(rule, size.stored):,}", f"{limit_bytes(rule, budget_kb):,}", verdict

    title = f"Within {budget_kb:g} KB?"
    return Sheet(title=title, columns=("rule", "counted", "limit", "fits"), rows=tuple(map(row, RULES)))


def size_json(size: Cost, budget_kb: float) -> dict[str, Any]:
    """Return the size table as one JSON object: totals, whether the network fits each rule, and every stored item.

    `parameters` and `bytes` exclude pruned zeros, as the technical report and the rule dcase2021 do.
    """
    return {
        "parameters": size.stored.nonzero_parameters,
        "bytes": size.stored.nonzero_bytes,
        "parameters_with_zeros": size.stored.parameters,
        "bytes_with_zeros": size.stored.size_bytes,
        "file_bytes": size.stored.file_bytes,
        "macs": size.macs_per_second,
        "peak_activation_bytes": size.peak_activation_bytes,
        "budget_kb": budget_kb,
        "fits": {rule.name: fits(rule, size, budget_kb) for rule in RULES},
        "items": [dataclasses.asdict(item) for item in size.items],
    }


def evaluation_tables(evaluation: Evaluation, about: About | None = None, *, mark: str = "") -> Iterable[Table]:
    """Yield the tables of `sheets`; titles end with the mark of `about`, else with `mark`."""
    return map(as_table, sheets(evaluation, about, mark=mark))


def training_end(end: Completed, *, held_out: bool) -> Iterable[Table | str]:
    """Yield the figures of a completed training and of its calibration; titles say if figures are optimistic."""
    mark = ", optimistic" * end.optimistic + ", clips that were trained on" * (not held_out)
    yield from evaluation_tables(end.evaluation, mark=mark)
    if end.calibration is not None and end.uncalibrated is not None:
        yield calibration_table({"before": end.uncalibrated, _method(end.calibration): end.evaluation}, mark=mark)
        yield calibration_text(end.calibration)


def _by_kind(items: Sequence[Item]) -> Iterable[tuple[str, int, int, int]]:
    order = list(_KINDS)
    for kind, group in groupby(sorted(items, key=lambda item: order.index(item.kind)), key=lambda item: item.kind):
        same = list(group)
        yield kind, sum(i.count for i in same), same[0].bytes_each, sum(i.size_bytes for i in same)


def calibration_text(report: CalibrationReport) -> str:
    """Describe the outcome of a calibration in words."""
    found = (
        f"cross-validation over {report.groups} groups of the {report.split} split ({report.clips} clips), log loss: "
        f"{report.log_loss_uncalibrated:.3f} uncalibrated, {report.log_loss_method:.3f} with {report.method}, "
        f"{report.log_loss_temperature:.3f} with a single temperature"
    )
    gain = f"{report.log_loss_uncalibrated - report.log_loss_method:.3f} \u00b1 {report.gain_standard_error:.3f}"
    verdict = f"{report.method} applied" if report.applied else f"{report.method} not applied: its gain is uncertain"
    optimistic = "optimistic (calibrated on test clips, so figures on the test fold are too good): "
    return f"calibration, {optimistic if report.optimistic else ''}{verdict} (gain {gain} standard error); {found}"


def what_calibration_changes(method: CalibrationMethod) -> str:
    """Say what a method can change in the table above, and what it cannot."""
    if method == "temperature":
        return (
            "a temperature scales all logits alike: it changes how sure the network is. It cannot change which class "
            "wins, except where two 8-bit logits are equal"
        )
    return f"{method} mixes the logits: it may also change which class wins"


def recalibrated(before: Evaluation, tempered: Evaluation, after: Evaluation, report: CalibrationReport) -> Table:
    """Return validation figures before and after a calibration, with a single temperature as the reference."""
    rows = {"before": before, "a single temperature": tempered, _method(report): after}
    return calibration_table(rows, mark=", optimistic" if report.optimistic else "")


def _method(report: CalibrationReport) -> str:
    return report.method if report.applied else f"{report.method} (not applied)"


def calibration_table(rows: Mapping[str, Evaluation], *, mark: str) -> Table:
    """Return validation figures by calibration, none of which was fitted on those clips; `mark` ends the title."""
    first = next(iter(rows.values()))
    table = Table(title=f"Calibration, on {first.clips} clips of the {first.split} split{mark}", title_justify="left")
    for name in ("network", "log loss", "calibration error", "accuracy"):
        table.add_column(name, justify="left" if name == "network" else "right")
    for name, figures in rows.items():
        error = "" if figures.calibration_error is None else f"{figures.calibration_error:.3f}"
        table.add_row(name, f"{figures.log_loss:.3f}", error, f"{figures.accuracy:.1%}")
    return table
