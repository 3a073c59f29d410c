"""Plans a search: everything that can be checked before audio is packed or Ray is started, then packing the audio."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asc.config.architecture import family_of
from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.space import Choice, Space
from asc.data.dataset import open_dataset
from asc.data.manifest import Manifest, load_manifest
from asc.data.response_bank import check_reference, read_bank
from asc.errors import InputError
from asc.launchers import command
from asc.model_file.artefact import check_room
from asc.model_file.model_info import DataIdentity
from asc.runs.training_run import crop_notes, open_data
from asc.search import final, teachers
from asc.search.preview import Preview, preview
from asc.search.repair import Budget
from asc.search.settings import SearchSettings
from asc.size.rules import rule

# Trials that differ in these could not be compared: rungs are at the ends of cycles, and the data set the classes.
_SHARED = (
    *("schedule.cycles", "schedule.epochs_per_cycle", "schedule.cycle_growth", "architecture.classes", "seed"),
    "distillation.",  # no trial has a teacher
)
_RATE = "front_end.sample_rate_hz"


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
