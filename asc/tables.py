"""Tables for people and trees for --json of what size.py, budget.py and evaluate.py say; no torch."""

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from rich.table import Table

from asc.budget import RULES, counted_bytes, fits, limit_bytes, why_not
from asc.evaluation_text import About, sheets
from asc.results import Evaluation
from asc.sheet import as_table
from asc.size import Cost, Item

_KINDS = {
    "weight": "int8 weights",
    "bias": "int32 biases",
    "weight_scale": "weight scales, one per output channel",
    "se": "SE weights and biases, float32",
    "se_batch_norm": "SE bottleneck batch norm",
    "activation_scale": "activation scales",
    "activation_zero_point": "activation zero points",
}


def size_table(size: Cost) -> Table:
    """What a network stores, summed by kind."""
    table = Table(title="Stored items", title_justify="left")
    table.add_column("item")
    for name in ("count", "bytes each", "bytes"):
        table.add_column(name, justify="right")
    for kind, count, each, total in _by_kind(size.items):
        table.add_row(_KINDS[kind], f"{count:,}", str(each), f"{total:,}")
    kilobytes = f"{size.size_bytes:,} = {size.size_bytes / 1024:.2f} KB (1,024)"
    table.add_section()
    table.add_row("total", f"{size.parameters:,}", "", kilobytes)
    return table


def rules_table(size: Cost, budget_kb: float) -> Table:
    """Every accounting rule: what it counts, its limit, whether the network fits."""
    table = Table(title=f"Within {budget_kb:g} KB?", title_justify="left")
    for name in ("rule", "counted", "limit", "fits"):
        table.add_column(name, justify="right" if name in ("counted", "limit") else "left")
    for rule in RULES:
        reason = why_not(rule, size, budget_kb)
        verdict = "yes" if reason is None else f"no: {reason.partition(': ')[2]}"
        table.add_row(rule.name, f"{counted_bytes(rule, size):,}", f"{limit_bytes(rule, budget_kb):,}", verdict)
    return table


def size_json(size: Cost, budget_kb: float) -> dict[str, Any]:
    """The size table as one object: totals, rule -> whether it fits, and every stored item."""
    return {
        "parameters": size.parameters,
        "bytes": size.size_bytes,
        "macs": size.macs_per_second,
        "peak_activation_bytes": size.peak_activation_bytes,
        "budget_kb": budget_kb,
        "fits": {rule.name: fits(rule, size, budget_kb) for rule in RULES},
        "items": [dataclasses.asdict(item) for item in size.items],
    }


def evaluation_tables(evaluation: Evaluation, about: About | None = None) -> Iterable[Table]:
    """Figures in all, per class and per device, and what else the evaluation has."""
    return map(as_table, sheets(evaluation, about))


def _by_kind(items: Sequence[Item]) -> Iterable[tuple[str, int, int, int]]:
    order = list(_KINDS)
    for kind, group in groupby(sorted(items, key=lambda item: order.index(item.kind)), key=lambda item: item.kind):
        same = list(group)
        yield kind, sum(i.count for i in same), same[0].bytes_each, sum(i.size_bytes for i in same)
