"""Warm start: points that were good before are tried first (Feurer et al. 2015, section 3.1).

https://ojs.aaai.org/index.php/AAAI/article/view/9354: the first points of a search are those that were best on other
tasks. They are the best of earlier searches (`--warm-start`), then those of the space's portfolio, which comes with asc
(a portfolio, as in Feurer et al. 2022, section 4, https://arxiv.org/abs/2007.04074).

They are repaired to the budget of the new search and trained in it, and its sampler is told only what they reach
there. Their earlier log losses are not told: a search over other data, another budget or another schedule gives other
values, and a sampler that ranked both together would learn the difference between the searches.
"""

import dataclasses
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
from asc.search.settings import SearchSettings
from asc.typed import Scalar

BEST = 5
PORTFOLIO = "portfolio"


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """The points to try after the reference, and sentences about them and about those that cannot be tried."""

    points: tuple[EarlierPoint, ...] = ()
    notes: tuple[str, ...] = ()


def warm_start(plan: SearchPlan, storage: str, *, name: str) -> WarmStart:
    """The points that the new search `name` tries first: at most half of the trials, each another network.

    Those of its `--warm-start` runs come first: the best of each, then the second, up to `BEST` of each. Then comes
    the portfolio of the space.

    Raises:
        InputError: there is one trial only, no run is named, or one does not exist, is this one, is not a search, has
            no completed trial, or has the name of another; or more of the portfolio is asked for than there is.
        StorageError: the bucket cannot be reached, or refuses access.
    """
    _check_portfolio(plan)
    earlier, portfolio = _Found(plan), _Found(plan)
    for run, trial in _of_runs(plan.settings, storage, name=name):
        found = _point(trial, plan)
        earlier.add(EarlierPoint(run=run, trial=trial.asked.trial, point={}), found)
    portfolio.tried = earlier.tried
    for number, point in enumerate(plan.space.portfolio[: plan.settings.portfolio], start=1):
        portfolio.add(EarlierPoint(run=PORTFOLIO, trial=str(number), point={}), point)
    most = plan.settings.trials // 2
    taken = earlier.points[:most]
    added = portfolio.points[: most - len(taken)]
    notes = list(earlier.notes)
    if taken:
        notes.insert(0, f"warm start: the points of {some(point.name for point in taken)} come after the reference")
    if added:
        notes.append(
            f"{len(added)} point{'s' * (len(added) > 1)} of the portfolio of {plan.space.name} "
            f"come{'s' * (len(added) == 1)} {'next' if taken else 'after the reference'}"
        )
    return WarmStart(points=(*taken, *added), notes=tuple(notes))


def _check_portfolio(plan: SearchPlan) -> None:
    asked, space, there = plan.settings.portfolio or 0, plan.space.name, len(plan.space.portfolio)
    require(asked == 0 or there > 0, f"--portfolio {asked}: the space {space} has no portfolio: leave it out")
    require(
        asked <= there,
        f"--portfolio {asked} is more than {space} has in its portfolio: give {there} or less, or leave it out",
    )
    require(
        asked == 0 or plan.settings.trials > 1,
        f"--portfolio {asked} needs --trials 2 or more: the first trial is the reference",
    )


class _Found:
    """Points that can be tried, in order, and sentences about the others."""

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan
        reference = repair(plan.base, plan.space, {}, plan.budget)
        self.tried = {} if reference is None else {"the reference": reference.experiment}
        self.points, self.notes = list[EarlierPoint](), list[str]()

    def add(self, source: EarlierPoint, found: Mapping[str, Scalar] | str) -> None:
        """Add the point of a source, unless it comes to a network that is tried already; or why there is none."""
        why = found if isinstance(found, str) else self._why_not(source.name, found)
        if why is not None:
            self.notes.append(f"{source.name} is not tried: {why}")
        elif not isinstance(found, str):
            self.points.append(dataclasses.replace(source, point=found))

    def _why_not(self, name: str, point: Mapping[str, Scalar]) -> str | None:
        plan = self._plan
        candidate = repair(plan.base, plan.space, point, plan.budget)
        if candidate is None:
            return infeasible(plan.base, plan.space, point) or "it does not fit the budget at any width"
        same = [name for name, other in self.tried.items() if other == candidate.experiment]
        if same:
            return f"here it is the same network and training as {same[0]}"
        self.tried[name] = candidate.experiment
        return None


def _of_runs(settings: SearchSettings, storage: str, *, name: str) -> list[tuple[str, TrialRecord]]:
    """The best trials of the runs of `--warm-start`, in the order in which they are tried."""
    given = settings.warm_start
    require(
        given is None or settings.trials > 1,
        "--warm-start needs --trials 2 or more: the first trial is the reference",
    )
    runs = list(dict.fromkeys(run.strip() for run in (given or "").split(",") if run.strip()))
    require(given is None or bool(runs), "--warm-start names no run: give the names of earlier searches, as night,day")
    names = [Path(run).name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    require(twice is None, f"--warm-start has two runs called {twice}, and trials are known by it: give one of them")
    require(name not in runs, f"--warm-start {name} is this search itself: name an earlier one, or give another --name")
    each = [[(Path(run).name, trial) for trial in _best(run, storage)] for run in runs]
    return [found for rank in zip_longest(*each) for found in rank if found is not None]


def _best(run: str, storage: str) -> list[TrialRecord]:
    """The best completed trials of a run, best first."""
    folder = Path(run) if (Path(run) / JOURNAL).is_file() else readable_run_folder(storage, run)
    record = fold(read_journal(folder / JOURNAL))
    if record.started.kind != "search":
        raise InputError(f"--warm-start {run} is a training, not a search: give it as --recipe")
    found = record.completed()[:BEST]
    require(bool(found), f"--warm-start {run} has no completed trial: leave it out")
    return found


def _point(trial: TrialRecord, plan: SearchPlan) -> dict[str, Scalar] | str:
    """The point of an earlier trial in the space of this search, or why it is none."""
    experiment, space = Experiment.from_flat(trial.asked.config), plan.space
    family, expected = experiment.architecture.family, plan.base.architecture.family
    if not space.families and family != expected:
        return f"its family is {family}, and that of this search is {expected}"
    point = space.point_of(experiment, trial.asked.point)
    if point is None:
        return f"its {some(space.outside(experiment, trial.asked.point))} lies outside the space {space.name}"
    return point
