"""What the user reads of a planned search before it starts: text, and one JSON object for `--dry-run --json`."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from asc.config.space import Choice, FloatRange, IntRange, Parameter
from asc.data.splits import LEARNING_SPLITS
from asc.search import final
from asc.search.plan import SearchPlan
from asc.search.repair import Budget
from asc.search.settings import SearchSettings
from asc.typed import Scalar

_OF_FINALS = ("final_", "distil", "teacher_")


def describe(plan: SearchPlan) -> str:
    """Text to print: the space, and how it fits the budget."""
    found, unit = plan.preview, plan.budget.rule.unit_bytes
    clips = {split: plan.manifest.count(split) for split in LEARNING_SPLITS}
    flat, shared = plan.base.flat(), {**plan.space.settings, **plan.settings.of_trials()}
    lines = [
        f"space {plan.space.name}, budget {_budgets(plan.settings)} KB under {plan.budget.rule.name} "
        f"({plan.budget.rule.summary}){_limits(plan.budget)}",
        f"data {plan.settings.data} ({', '.join(f'{count} {split}' for split, count in clips.items())} clips)",
        *(f"  {key}: {_describe(parameter)}" for key, parameter in plan.space.sampled.items()),
        "all trials: " + ", ".join(f"{key} {flat.get(key, value)}" for key, value in shared.items()),
        f"of {found.points} points drawn {found.fit_share:.0%} fit as they are and {found.repairable_share:.0%} with "
        f"narrower layers; sizes {found.smallest_bytes / unit:.1f} to {found.largest_bytes / unit:.1f} KB, "
        f"half of them above {found.median_bytes / unit:.1f} KB",
        *(
            [f"{found.infeasible_share:.0%} have values that do not go together, such as: {found.infeasible_example}"]
            if found.infeasible_share
            else []
        ),
        *_objectives(plan.settings),
        *_finals(plan),
    ]
    return "\n".join(lines)


def _objectives(settings: SearchSettings) -> Iterator[str]:
    if settings.objectives is not None:
        yield f"it looks for the Pareto front of {', '.join(settings.aims)}: trials are compared by all of them"


def _finals(plan: SearchPlan) -> Iterator[str]:
    settings = plan.settings
    if settings.final_top == 0:
        return
    split = final.confirmation_split(plan.manifest.choice)
    yield (
        f"then the best {settings.final_top} are retrained with {settings.final_seeds} seed"
        f"{'s' * (settings.final_seeds != 1)} each, for {settings.final_cycles} x {settings.final_epochs} epochs, and "
        f"judged on the {plan.manifest.count(split)} {split} clips, which the search does not use"
        f"{_taught(settings)}"
    )


def _taught(settings: SearchSettings) -> str:
    """Who teaches the finals, as the end of a line."""
    if settings.teacher_logits is not None:
        return f"; they learn from the soft labels in {settings.teacher_logits}, too"
    if not settings.distil:
        return ""
    larger = f" and of {settings.teachers} larger ones of about {settings.teacher_kb:g} KB" if settings.teachers else ""
    return f"; they learn from the soft labels of these best{larger}, too"


def as_json(plan: SearchPlan, span: tuple[float, float]) -> dict[str, Any]:
    """The plan as one JSON object; `span` is from `asc.search.duration.minutes`, in minutes."""
    return {
        "space": plan.space.name,
        "budget_kb": plan.budget.kilobytes,
        **({} if plan.settings.budgets_kb is None else {"budgets_kb": plan.settings.budgets}),
        "rule": plan.budget.rule.name,
        "max_mmacs_per_s": plan.budget.max_mmacs_per_s,
        "max_ram_kb": plan.budget.max_ram_kb,
        **({} if plan.settings.objectives is None else {"objectives": plan.settings.aims}),
        **dataclasses.asdict(plan.preview),
        "minutes": span,
        **({} if plan.settings.final_top == 0 else {"finals": _finals_json(plan)}),
    }


def _finals_json(plan: SearchPlan) -> dict[str, Scalar]:
    split = final.confirmation_split(plan.manifest.choice)
    given = {key: value for key, value in plan.settings.scalars().items() if key.startswith(_OF_FINALS)}
    return {**given, "split": split, "clips": plan.manifest.count(split)}


def _describe(parameter: Parameter) -> str:
    match parameter:
        case IntRange():
            return f"{parameter.low} to {parameter.high} in steps of {parameter.step}"
        case FloatRange():
            return f"{parameter.low:g} to {parameter.high:g}" + (", logarithmic" if parameter.log else "")
        case Choice():
            return " | ".join(str(list(o) if isinstance(o, tuple) else o) for o in parameter.options)


def _budgets(settings: SearchSettings) -> str:
    """The budgets in KB for a line, the smallest first."""
    return ", ".join(f"{budget_kb:g}" for budget_kb in reversed(settings.budgets))


def _limits(budget: Budget) -> str:
    """The limits beside the bytes that were given, as the end of a line."""
    macs = "" if budget.max_mmacs_per_s is None else f", at most {budget.max_mmacs_per_s:g} MMAC per second of audio"
    return macs + ("" if budget.max_ram_kb is None else f", at most {budget.max_ram_kb:g} KB of activations for 10 s")
