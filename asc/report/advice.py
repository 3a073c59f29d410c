"""What to try after a search: each piece of advice with its reason and, where there is one, the command."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asc.report import commands
from asc.report.cautions import MANY_LOST, edges, is_near_chance, ties
from asc.report.importance import FEWEST_TRIALS, Importance
from asc.report.measure import figure, written
from asc.report.trials import Search, Trial
from asc.results import Interval, words

_STILL_FALLING = 0.95  # the log loss at the last epoch as a share of that at the end of the cycle before
_UNUSED = 0.7  # of the budget
_LATE = 2 / 3  # of the epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing to do: a sentence or two, and a command line."""

    text: str
    command: str | None = None


def advice(search: Search, found: Importance | None, interval: Interval | None, folder: Path) -> list[Advice]:
    """What to try next, most useful first."""
    best = search.saved
    steps = list(_go_on(search, folder))
    if best is not None:
        steps += _learn_more(search, best)
        steps += _search_elsewhere(search, best, found)
        if search.shipped is None:  # a final has had its longer training, and has no rank among the trials
            steps += _choose(search, best, interval)
            full = commands.train(search, folder)
            steps.append(Advice(text="Train the best network with the full schedule.", command=full))
    return steps


def _go_on(search: Search, folder: Path) -> Iterator[Advice]:
    completed, trials = len(search.completed), len(search.trials)
    if search.state != "finished":
        yield Advice(text="Go on with the search.", command=commands.resume(folder))
        return
    late = search.reached[-1].epochs > _LATE * search.epochs if search.reached else False
    if completed < FEWEST_TRIALS:
        why = (
            f"Only {completed} trial{'' if completed == 1 else 's'} completed: a larger search has more to choose from."
        )
    elif late:
        why = "The best network was found in the last third of the search: more trials may find a better one."
    else:
        return
    yield Advice(text=why, command=commands.resume(folder, trials=2 * max(trials, 1)))


def _learn_more(search: Search, best: Trial) -> Iterator[Advice]:
    if is_near_chance(search, best):
        yield Advice(
            text="The best network is near chance: train longer (--epochs-per-cycle), use smaller batches or more "
            "data, and check the labels."
        )
    ends = [epoch for epoch in search.cycle_ends if epoch in best.curve and search.shipped is None]
    if len(ends) > 1 and best.curve[ends[-1]] < _STILL_FALLING * best.curve[ends[-2]]:
        yield Advice(
            text=f"The best network was still learning in its last cycle (log loss {best.curve[ends[-2]]:.3f} to "
            f"{best.curve[ends[-1]]:.3f}): more --cycles or --epochs-per-cycle would help."
        )
    ended = sum(search.record.outcomes.values())
    if ended and search.record.outcomes["diverged"] / ended > MANY_LOST:
        yield Advice(text="Many trials diverged: make schedule.learning_rate_max smaller in the space.")


def _search_elsewhere(search: Search, best: Trial, found: Importance | None) -> Iterator[Advice]:
    beyond = [key for key, _ in edges(search, best)]
    if beyond:
        yield Advice(text=f"Widen the range of {', '.join(beyond)} in the space: the best value lies at its end.")
    if best.kilobytes < _UNUSED * search.limit_kb:
        yield Advice(
            text=f"The best network takes {best.kilobytes:.1f} of {search.limit_kb:g} KB: offer wider or deeper "
            "networks in the space, or lower the budget."
        )
    if found is not None and len(found.shares) > 3:
        first = list(found.shares)[:3]
        share = sum(found.shares[key] for key in first)
        yield Advice(
            text=f"{', '.join(first)} make up {share:.0%} of the importance: give them finer or wider ranges, and fix "
            "what hardly matters."
        )


def _choose(search: Search, best: Trial, interval: Interval | None) -> Iterator[Advice]:
    smaller = [trial for trial in ties(search, best, interval) if trial.kilobytes < _UNUSED * best.kilobytes]
    if smaller:
        least = min(smaller, key=lambda trial: trial.kilobytes)
        by = search.rank_by
        yield Advice(
            text=f"{least.name} takes {least.kilobytes:.1f} KB instead of {best.kilobytes:.1f}, and its {words(by)} "
            f"({written(figure(least, by), by)}) lies within the interval of the best: it may do as well."
        )
