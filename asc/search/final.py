"""How a search is finished: its best trials are retrained with fresh seeds and judged on clips that it has not seen.

The confirmation clips are those of the calibration split, which no search trains, stops or ranks on: all of it if no
trial is calibrated, else the half that is set aside from the start (part "confirmed", `asc.data.splits`). Their
locations are in no other split. The search itself so sees the same train and validation clips as without finals.

Finals are trained by the same workers and the same function as trials. Here is what is decided about them without Ray;
`asc.runs.finals` says what they have found, `asc.search.teachers` who may teach them.
"""

import dataclasses
from collections.abc import Collection

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.config.space import Space
from asc.errors import require
from asc.model_file.model_header import experiment_in
from asc.results import Split
from asc.runs.events import FinalAsked, FinalistsChosen
from asc.runs.record import RunRecord, TrialRecord
from asc.search.settings import SearchSettings
from asc.typed import Scalar

SEEDS = 3


def filled(settings: SearchSettings) -> SearchSettings:
    """The settings with the defaults of the finals filled in: three seeds, and the schedule of the recipe.

    Raises:
        InputError: the schedule is not given, and the recipe cannot be read.
    """
    if settings.final_top == 0:
        return settings
    cycles, epochs = settings.final_cycles, settings.final_epochs
    if cycles is None or epochs is None:
        schedule = load_experiment(settings.recipe, of_model=experiment_in).schedule
        cycles, epochs = cycles or schedule.cycles, epochs or schedule.epochs_per_cycle
    return dataclasses.replace(
        settings, final_seeds=settings.final_seeds or SEEDS, final_cycles=cycles, final_epochs=epochs
    )


def calibrates(base: Experiment, space: Space) -> bool:
    """Whether trials of a search may be calibrated; `base` is the config of trial 0."""
    return base.calibration.method != "none" or "calibration.method" in varied(space)


def varied(space: Space) -> list[str]:
    """The keys in which trials may differ: what is sampled, and all that only one family has."""
    return [*space.sampled, *(key for table in space.families.values() for key in table)]


def data_choice(settings: SearchSettings, base: Experiment, space: Space) -> DataChoice:
    """The data of a search; with finals, half of a calibration split that trials use is set aside."""
    if settings.final_top == 0 or not calibrates(base, space):
        return settings.choice
    return dataclasses.replace(settings.choice, part="confirmed")


def confirmation_split(choice: DataChoice) -> Split:
    """The split that finals are judged on."""
    return "confirmation" if choice.part == "confirmed" else "calibration"


def check(settings: SearchSettings, base: Experiment, space: Space) -> None:
    """Check before a search that its trials can be retrained with the schedule and the seeds of the finals.

    Raises:
        InputError: there is no cycle after the one that ends with pruning, or a seed is too large.
    """
    if settings.final_top == 0:
        return
    pruned = base.compression.prune_ratio > 0 or "compression.prune_ratio" in varied(space)
    require(
        not pruned or settings.final_cycles != 1,
        "--final-cycles 1 leaves no cycle after the first, which ends with pruning: give 2 or more",
    )
    base.updated(changes(settings, seeds(settings)[-1]))


def check_added(settings: SearchSettings, record: RunRecord, space: Space) -> None:
    """Check that finals can be added to a search that began without them.

    Raises:
        InputError: its trials have used the clips to confirm on.
    """
    reference = record.started.reference
    base = settings.reference(space, classes=10) if reference is None else Experiment.from_flat(reference)
    require(
        not calibrates(base, space),
        f"--final-top cannot be added to {record.started.name}, because its trials were calibrated on the clips that "
        "would have to confirm its choice: start a new search with --final-top",
    )


def seeds(settings: SearchSettings) -> tuple[int, ...]:
    """The seeds of the finals: those after the search's own, which may have helped a trial to its rank."""
    return tuple(range(settings.seed + 1, settings.seed + 1 + (settings.final_seeds or 0)))


def chosen(record: RunRecord, settings: SearchSettings) -> FinalistsChosen:
    """The finalists as the ranking stands."""
    return FinalistsChosen(
        trials=tuple(trial.asked.trial for trial in record.completed()[: settings.final_top]),
        seeds=seeds(settings),
        cycles=settings.final_cycles or 0,
        epochs_per_cycle=settings.final_epochs or 0,
    )


def to_come(record: RunRecord, settings: SearchSettings, *, busy: Collection[str] = ()) -> FinalAsked | None:
    """The next final to train that has not ended and is not `busy`; the first seeds of all finalists come first."""
    best, made = record.completed()[: settings.final_top], record.soft_labels
    for seed in seeds(settings) if best else ():
        for trial in best:
            name = final_name(trial.asked.trial, seed)
            known = record.finals.get(name)
            if name not in busy and (known is None or known.training.ended is None):
                return _asked(trial, seed, settings, None if made is None else made.digest)
    return None


def final_name(trial: str, seed: int) -> str:
    """The name of a final, and of its folder."""
    return f"{trial}-seed{seed}"


def _asked(trial: TrialRecord, seed: int, settings: SearchSettings, soft_labels: str | None) -> FinalAsked:
    asked = trial.asked
    name = final_name(asked.trial, seed)
    return FinalAsked(
        final=name,
        trial=asked.trial,
        title=asked.title.replace(asked.trial, name, 1).removesuffix(" reference"),
        seed=seed,
        config=Experiment.from_flat(asked.config).updated(changes(settings, seed)).flat(),
        soft_labels=soft_labels,
    )


def changes(settings: SearchSettings, seed: int) -> dict[str, Scalar]:
    """The config keys in which a final differs from its trial: its cycles are equally long, whatever the trial's."""
    assert settings.final_cycles is not None and settings.final_epochs is not None, "`filled` has filled them in"
    return {
        "seed": seed,
        "schedule.cycles": settings.final_cycles,
        "schedule.epochs_per_cycle": settings.final_epochs,
        "schedule.cycle_growth": 1,
    }
