"""Warm start: the best points of earlier searches are tried first (Feurer et al. 2015, section 3.1).

https://ojs.aaai.org/index.php/AAAI/article/view/9354: the first points of a search are those that were best on other
tasks. They are repaired to the budget of the new search and trained in it, and its sampler is told only what they reach
there. Their earlier log losses are not told: a search over other data, another budget or another schedule gives other
values, and a sampler that ranked both together would learn the difference between the searches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from asc.config.experiment import Experiment
from asc.errors import InputError, require, some
from asc.run_files import JOURNAL
from asc.runs.events import EarlierPoint
from asc.runs.folder import readable_run_folder
from asc.runs.journal import read_journal
from asc.runs.record import TrialRecord, fold
from asc.search.plan import SearchPlan
from asc.search.repair import infeasible, repair
from asc.typed import Scalar

BEST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """The points to try after the reference, and sentences about them and about those that cannot be tried."""

    points: tuple[EarlierPoint, ...] = ()
    notes: tuple[str, ...] = ()


def warm_start(plan: SearchPlan, storage: str, *, name: str) -> WarmStart:
    """What the new search `name` takes from the runs of its `--warm-start`: the best of each, then the second, ...

    It takes up to `BEST` of each, and at most half of the trials.

    Raises:
        InputError: there is one trial only, no run is named, or one does not exist, is this one, is not a search, has
            no completed trial, or has the name of another.
        StorageError: the bucket cannot be reached, or refuses access.
    """
    given = plan.settings.warm_start
    require(
        given is None or plan.settings.trials > 1,
        "--warm-start needs --trials 2 or more: the first trial is the reference",
    )
    runs = list(dict.fromkeys(run.strip() for run in (given or "").split(",") if run.strip()))
    require(given is None or bool(runs), "--warm-start names no run: give the names of earlier searches, as night,day")
    names = [Path(run).name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    require(twice is None, f"--warm-start has two runs called {twice}, and trials are known by it: give one of them")
    require(name not in runs, f"--warm-start {name} is this search itself: name an earlier one, or give another --name")
    each = [[(Path(run).name, trial) for trial in _best(run, storage)] for run in runs]
    reference = repair(plan.base, plan.space, {}, plan.budget)
    tried = {} if reference is None else {"the reference": reference.experiment}
    points, notes = list[EarlierPoint](), list[str]()
    for run, trial in (found for rank in zip_longest(*each) for found in rank if found is not None):
        name, found = f"{run}/{trial.asked.trial}", _point(trial, plan, tried)
        if isinstance(found, str):
            notes.append(f"{name} is not tried: {found}")
        else:
            point, tried[name] = found
            points.append(EarlierPoint(run=run, trial=trial.asked.trial, point=point))
    taken = tuple(points[: plan.settings.trials // 2])
    if taken:
        notes.insert(0, f"warm start: the points of {some(point.name for point in taken)} come after the reference")
    return WarmStart(points=taken, notes=tuple(notes))


def _best(run: str, storage: str) -> list[TrialRecord]:
    """The best completed trials of a run, best first."""
    folder = Path(run) if (Path(run) / JOURNAL).is_file() else readable_run_folder(storage, run)
    record = fold(read_journal(folder / JOURNAL))
    if record.started.kind != "search":
        raise InputError(f"--warm-start {run} is a training, not a search: give it as --recipe")
    found = record.completed()[:BEST]
    require(bool(found), f"--warm-start {run} has no completed trial: leave it out")
    return found


def _point(
    trial: TrialRecord, plan: SearchPlan, tried: Mapping[str, Experiment]
) -> tuple[dict[str, Scalar], Experiment] | str:
    """The point of an earlier trial in the space of this search and its config, or why it cannot be tried."""
    experiment, space = Experiment.from_flat(trial.asked.config), plan.space
    family, expected = experiment.architecture.family, plan.base.architecture.family
    if not space.families and family != expected:
        return f"its family is {family}, and that of this search is {expected}"
    point = space.point_of(experiment, trial.asked.point)
    if point is None:
        return f"its {some(space.outside(experiment, trial.asked.point))} lies outside the space {space.name}"
    candidate = repair(plan.base, space, point, plan.budget)
    if candidate is None:
        return infeasible(plan.base, space, point) or "it does not fit the budget at any width"
    same = [name for name, other in tried.items() if other == candidate.experiment]
    return f"here it is the same network and training as {same[0]}" if same else (point, candidate.experiment)
