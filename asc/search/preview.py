"""Previews a search without training: how many points fit, how large they are, how long the search may take."""

import dataclasses
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asc.config.architecture import family_of
from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.space import FAMILY, Choice, FloatRange, IntRange, Parameter, Space
from asc.data.dataset import open_dataset
from asc.data.manifest import Manifest, load_manifest
from asc.data.response_bank import check_reference, read_bank
from asc.data.splits import LEARNING_SPLITS
from asc.errors import InputError
from asc.launchers import command
from asc.model_file.artefact import check_room
from asc.model_file.model_info import DataIdentity
from asc.runs.training_run import crop_notes, open_data
from asc.search import final, teachers
from asc.search.repair import Budget, Candidate, least, repair
from asc.search.settings import SearchSettings
from asc.size.law import Cost
from asc.size.rules import counted_bytes, limit_bytes, rule
from asc.typed import Scalar

_POINTS = 500
# Trials that differ in these could not be compared: rungs are at the ends of cycles, and the data set the classes.
_SHARED = (
    *("schedule.cycles", "schedule.epochs_per_cycle", "schedule.cycle_growth", "architecture.classes", "seed"),
    "distillation.",  # no trial has a teacher
)
_OF_FINALS = ("final_", "distil", "teacher_")
_RATE = "front_end.sample_rate_hz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Statistics of drawn points: shares that fit as drawn and after repair; sizes and MACs after repair.

    `infeasible_share` counts the points whose values do not go together; `infeasible_example` says why one of them is.
    """

    points: int
    fit_share: float
    repairable_share: float
    infeasible_share: float
    infeasible_example: str | None
    smallest_bytes: int
    median_bytes: int
    largest_bytes: int
    mean_macs_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """A search that passed its checks; `base` is the config of trial 0 before repair."""

    settings: SearchSettings
    space: Space
    budget: Budget
    base: Experiment
    manifest: Manifest
    preview: Preview

    @property
    def sample_rates_hz(self) -> tuple[int, ...]:
        """The sample rates that a trial may have, that of the reference first; the audio is packed once for each."""
        drawn = (one.parameters.get(_RATE) for one in self.space.each())
        options = [rate for parameter in drawn if isinstance(parameter, Choice) for rate in parameter.options]
        return tuple(dict.fromkeys([self.base.front_end.sample_rate_hz, *options]))  # type: ignore[list-item]


def plan_search(settings: SearchSettings, space: Space, reference: Experiment | None = None) -> SearchPlan:
    """Check everything that can be checked before audio is packed or Ray is started.

    `reference` is given on resume: the original config of trial 0 before repair, even if the recipe has changed since.

    Raises:
        InputError: the data, rule, recipe or space is wrong, or no network of the space is within the budget.
    """
    budget = Budget(
        rule=rule(settings.rule),
        kilobytes=settings.budget_kb,
        max_mmacs_per_s=settings.max_mmacs_per_s,
        max_ram_kb=settings.max_ram_kb,
    )
    _check_shared(space)
    checked = settings.reference(space, classes=10) if reference is None else reference
    if checked.calibration.fit_on == "test" or "calibration.fit_on" in final.varied(space):
        raise InputError(
            "calibration.fit_on is test, but a search never opens the test fold: use "
            f"{command('train')} --calibrate-on-test"
        )
    family = checked.architecture.family
    for key in () if space.families else space.sampled:
        if family_of(key) not in (None, family):
            raise InputError(
                f"space {space.name} has {key}, a key of the family {family_of(key)}, but the reference is of the "
                f"family {family}: give a --space of that family or of several, such as families128"
            )
    final.check(settings, checked, space)
    teachers.check(settings, checked, budget.rule)
    manifest = load_manifest(final.data_choice(settings, checked, space))
    base = settings.reference(space, classes=len(manifest.labels)) if reference is None else reference
    for smaller in settings.budgets[1:]:
        preview(base, space, dataclasses.replace(budget, kilobytes=smaller))  # raises if no network is within it
    return SearchPlan(
        settings=settings,
        space=space,
        budget=budget,
        base=base,
        manifest=manifest,
        preview=preview(base, space, budget),
    )


def preview(base: Experiment, space: Space, budget: Budget) -> Preview:
    """Draw points from the space and compute their sizes.

    Raises:
        InputError: no point is within the budget even at its narrowest, or a bound of the space is out of range.
    """
    for one in space.each():
        of_family: dict[str, Scalar] = {FAMILY: str(one.settings[FAMILY])} if space.families else {}
        for key, parameter in one.sampled.items():
            for bound in () if isinstance(parameter, Choice) else (parameter.low, parameter.high):
                _bound_checked(base, space, {**of_family, key: bound}, budget)
    points = _points(space)
    found = [repair(base, space, point, budget) for point in points]
    within = [candidate for candidate in found if candidate is not None]
    refused = [least(base, space, point) for point, repaired in zip(points, found, strict=True) if repaired is None]
    unfit = [why for why in refused if isinstance(why, str)]
    if len(unfit) == len(points):
        raise InputError(f"no point of space {space.name} is a config, for example because {unfit[0]}")
    if not within:
        raise InputError(_impossible(space, budget, [size for size in refused if not isinstance(size, str)]))
    for family in space.families:
        if not any(candidate.experiment.architecture.family == family for candidate in within):
            raise InputError(
                f"no network of the family {family} in space {space.name} is within the limits: leave it out, or give "
                "larger ones"
            )
    sizes = sorted(counted_bytes(budget.rule, candidate.cost.stored) for candidate in within)
    return Preview(
        points=_POINTS,
        fit_share=sum(not candidate.narrowed for candidate in within) / _POINTS,
        repairable_share=len(within) / _POINTS,
        infeasible_share=len(unfit) / _POINTS,
        infeasible_example=unfit[0] if unfit else None,
        smallest_bytes=sizes[0],
        median_bytes=sizes[len(sizes) // 2],
        largest_bytes=sizes[-1],
        mean_macs_per_second=sum(candidate.cost.macs_per_second for candidate in within) / len(within),
    )


def _check_shared(space: Space) -> None:
    """Check that all trials have the keys that they must share.

    Raises:
        InputError: one of them is sampled, or belongs to one family.
    """
    for one in space.each():
        if not isinstance(one.parameters.get(_RATE, Choice(options=())), Choice):
            raise InputError(
                f"space {space.name} has a range for {_RATE}, but the audio is packed once for each rate: list the "
                "rates as choices"
            )
    for key in final.varied(space):
        if key.startswith(_SHARED):
            raise InputError(
                f"space {space.name} samples {key}, which all trials must share: give it one value, in [parameters]"
            )


def _bound_checked(base: Experiment, space: Space, point: dict[str, Scalar], budget: Budget) -> None:
    """Build the network of a point at a bound of the space.

    Raises:
        InputError: no config may have the value.
    """
    try:
        repair(base, space, point, budget)
    except InputError as error:
        raise InputError(f"space {space.name}: {error}") from error


def drawn(base: Experiment, space: Space, budget: Budget) -> list[Candidate]:
    """The repaired points that are within the budget, out of a fixed random draw (always the same seed)."""
    candidates = [repair(base, space, point, budget) for point in _points(space)]
    return [candidate for candidate in candidates if candidate is not None]


def _points(space: Space) -> list[dict[str, Scalar]]:
    rng = random.Random(0)
    return [space.sample(rng) for _ in range(_POINTS)]


def pack(plan: SearchPlan, cache: Path, progress: Callable[[int, int], None]) -> tuple[DataChoice, list[str]]:
    """Pack the audio at each rate, if it is not packed yet.

    Returns the data choice with absolute paths for workers, and warnings about the audio.

    Raises as `open_data` does; InputError if the model file's header has no room for the labels and the data choice.
    """
    choice = plan.manifest.choice
    dataset = open_data(choice, plan.base, cache, progress)
    for rate_hz in plan.sample_rates_hz[1:]:
        open_dataset(choice, sample_rate_hz=rate_hz, cache=cache, progress=progress)
    scheme, colon, place = choice.spec.partition(":")
    spec = f"{scheme}:{Path(place).resolve()}" if colon and scheme != "synthetic" else choice.spec
    if plan.base.augment.impulse_response_p > 0 or "augment.impulse_response_p" in plan.space.sampled:
        check_reference(plan.manifest)
        read_bank(choice.response_bank)
    irs, bank = (_absolute(folder) for folder in (choice.device_irs, choice.augment_irs))
    found = dataclasses.replace(choice, spec=spec, device_irs=irs, augment_irs=bank)
    check_room(plan.base, plan.manifest.labels, DataIdentity(choice=found, digest=plan.manifest.digest))
    return found, crop_notes(dataset, plan.base.augment.crop_s)


def _absolute(folder: str | None) -> str | None:
    return None if folder is None else str(Path(folder).expanduser().resolve())


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
        *_finals(plan),
    ]
    return "\n".join(lines)


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
    """The preview as one JSON object; `span` is from `minutes`."""
    return {
        "space": plan.space.name,
        "budget_kb": plan.budget.kilobytes,
        **({} if plan.settings.budgets_kb is None else {"budgets_kb": plan.settings.budgets}),
        "rule": plan.budget.rule.name,
        "max_mmacs_per_s": plan.budget.max_mmacs_per_s,
        "max_ram_kb": plan.budget.max_ram_kb,
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


def _impossible(space: Space, budget: Budget, costs: list[Cost]) -> str:
    """The error message if no point fits, with what the narrowest network takes that comes nearest to the limits.

    `costs` are those of the narrowest networks of all points.
    """
    nearest = min(costs, key=lambda size: max(_shares(size, budget).values()))
    counted, shares = counted_bytes(budget.rule, nearest.stored), _shares(nearest, budget)
    limit, ram = budget.most_mmacs_per_s, budget.max_ram_kb
    macs = f" and {nearest.macs_per_second / 1e6:.2f} MMAC per second (allowed: {limit:g})" if limit else ""
    memory = f" and {nearest.peak_activation_bytes / 1024:.0f} KB of activations (allowed: {ram:g})" if ram else ""
    broken = " or ".join(option for option, share in shares.items() if share > 1)
    return (
        f"no network of space {space.name} fits {budget.kilobytes:g} KB "
        f"({limit_bytes(budget.rule, budget.kilobytes):,} bytes) under {budget.rule.name}: the smallest found takes "
        f"{counted:,} bytes{macs}{memory}; give a larger {broken}, or another --space"
    )


def _shares(size: Cost, budget: Budget) -> dict[str, float]:
    """How much of each limit a network takes, by the option that sets the limit; above 1 it is over."""
    shares = {"--budget-kb": counted_bytes(budget.rule, size.stored) / limit_bytes(budget.rule, budget.kilobytes)}
    if (limit := budget.most_mmacs_per_s) is not None:
        option = "--max-mmacs-per-s" if limit == budget.max_mmacs_per_s else "limit on MACs (another --rule)"
        shares[option] = size.macs_per_second / (limit * 1e6)
    if budget.max_ram_kb is not None:
        shares["--max-ram-kb"] = size.peak_activation_bytes / (budget.max_ram_kb * 1024)
    return shares
