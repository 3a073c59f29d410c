"""Named accounting rules: what counts towards a size limit, and whether a network meets it.

The rules are those of the DCASE challenge, task 1, "low-complexity acoustic scene classification":
https://dcase.community/challenge2021/task-acoustic-scene-classification (1 KB = 1,024 bytes), and of 2022, 2024 and
2025 (1 KB = 1,000 bytes, at most 30 million MACs on one second of audio). 2025 counts as 2024 did; it also names the
device of each clip at test time. `file` is ours: what `ls -l` shows.
"""

import math
from dataclasses import dataclass
from typing import Literal

from asc.errors import InputError
from asc.results import StoredSize
from asc.size.law import Cost, Costing

RuleName = Literal["dcase2021", "dcase2022", "dcase2024", "dcase2025", "file"]
Counts = Literal["bytes_of_nonzero", "all_as_int8", "bytes_of_all", "bytes_of_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One accounting rule. `unit_bytes` is its KB; `macs_per_second_limit` is None if MACs are not limited."""

    name: RuleName
    unit_bytes: int
    counts: Counts
    macs_per_second_limit: int | None
    summary: str


RULES: tuple[Rule, ...] = (
    Rule(
        name="dcase2021",
        unit_bytes=1024,
        counts="bytes_of_nonzero",
        macs_per_second_limit=None,
        summary="every non-zero stored parameter x its bytes; 1 KB is 1,024 bytes",
    ),
    Rule(
        name="dcase2022",
        unit_bytes=1000,
        counts="all_as_int8",
        macs_per_second_limit=30_000_000,
        summary="all parameters at one byte each; 1 KB is 1,000 bytes; 30 MMAC per second of audio",
    ),
    Rule(
        name="dcase2024",
        unit_bytes=1000,
        counts="bytes_of_all",
        macs_per_second_limit=30_000_000,
        summary="all parameters x their bytes; 1 KB is 1,000 bytes; 30 MMAC per second of audio",
    ),
    Rule(
        name="dcase2025",
        unit_bytes=1000,
        counts="bytes_of_all",
        macs_per_second_limit=30_000_000,
        summary="as dcase2024: all parameters x their bytes; 1 KB is 1,000 bytes; 30 MMAC per second of audio",
    ),
    Rule(
        name="file",
        unit_bytes=1024,
        counts="bytes_of_file",
        macs_per_second_limit=None,
        summary="the model file on disk, all that is needed to run it; 1 KB is 1,024 bytes",
    ),
)


def rule(name: str) -> Rule:
    """The rule with this name.

    Raises:
        InputError: there is no such rule.
    """
    for candidate in RULES:
        if candidate.name == name:
            return candidate
    raise InputError(f"unknown accounting rule {name!r}: choose one of {', '.join(r.name for r in RULES)}")


def limit_bytes(rule: Rule, budget_kb: float) -> int:
    """The budget in whole bytes; the rule decides how many bytes a KB has.

    Raises:
        InputError: the budget is not a finite number above zero.
    """
    if not (math.isfinite(budget_kb) and budget_kb > 0):
        raise InputError(f"the budget must be a number of KB above 0, got {budget_kb}")
    return math.floor(budget_kb * rule.unit_bytes)


def counted_bytes(rule: Rule, stored: StoredSize) -> int:
    """The bytes that the rule counts. Only pruned weights are free as zeros; a kept weight that is zero counts."""
    match rule.counts:
        case "all_as_int8":
            return stored.parameters
        case "bytes_of_nonzero":
            return stored.nonzero_bytes
        case "bytes_of_all":
            return stored.size_bytes
        case "bytes_of_file":
            return stored.file_bytes


def fits(rule: Rule, cost: Cost | Costing, budget_kb: float = 128) -> bool:
    """Whether a network of this cost is within the budget and within the rule's limit on MACs."""
    return counted_bytes(rule, cost.stored) <= limit_bytes(rule, budget_kb) and not _computes_too_much(rule, cost)


def why_not(rule: Rule, cost: Cost | Costing, budget_kb: float = 128) -> str | None:
    """One sentence that says by how much the network breaks the rule, or None if it fits."""
    limit, counted = limit_bytes(rule, budget_kb), counted_bytes(rule, cost.stored)
    reasons = []
    if counted > limit:
        reasons.append(f"{counted:,} bytes are {counted - limit:,} over the limit of {limit:,} ({budget_kb:g} KB)")
    if _computes_too_much(rule, cost):
        most = (rule.macs_per_second_limit or 0) / 1e6
        reasons.append(f"{cost.macs_per_second / 1e6:.1f} MMAC per second of audio are over the limit of {most:g}")
    return f"not within {rule.name}: {' and '.join(reasons)}" if reasons else None


def _computes_too_much(rule: Rule, cost: Cost | Costing) -> bool:
    return rule.macs_per_second_limit is not None and cost.macs_per_second > rule.macs_per_second_limit
