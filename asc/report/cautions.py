"""Reasons to doubt the best network of a search, one sentence each: chance, noise, edges of ranges, what fell."""

import math
from collections.abc import Iterator

from asc.config.space import Choice, IntRange, Parameter
from asc.errors import some
from asc.report.measure import figure, interval_in_words, within, written
from asc.report.trials import Search, Trial
from asc.results import Interval, wrong_teachers
from asc.typed import Scalar

# Near chance: a log loss above this share of that of guessing, or an accuracy less than a tenth of the way from
# guessing to perfect.
_LOG_LOSS_SHARE, _ACCURACY_SHARE = 0.9, 0.1
_EDGE_SHARE = 0.02  # of a range, for numbers that are drawn from a continuum
MANY_LOST = 0.2  # of the ended trials


def cautions(search: Search, interval: Interval | None) -> list[str]:
    """The sentences for a search; `interval` is that of the best one's figure, if it is known."""
    return [*_of_the_run(search), *_beside_reference(search), *of_the_best(search, interval)]


def of_the_best(search: Search, interval: Interval | None) -> list[str]:
    """The sentences about the saved network alone, which a search prints at its end.

    Other trials are no measure of a final: it was trained for longer, and clips that the search did not use chose it.
    """
    saved = search.saved
    if saved is None:
        return []
    noise = _of_noise(search, saved, interval) if search.shipped is None else ()
    found = [*_near_chance(search, saved), *noise, *_of_edges(search, saved), *_of_size(search, saved)]
    return [*found, *_of_teachers(search)]


def is_near_chance(search: Search, best: Trial) -> bool:
    """Whether the best network is hardly better than guessing."""
    return search.classes is not None and bool(_near_chance(search, best))


def ties(search: Search, best: Trial, interval: Interval | None) -> list[Trial]:
    """The other completed trials that lie within the best one's interval."""
    if interval is None:
        return []
    return [trial for trial in search.completed[1:] if within(trial, interval, search.rank_by)]


def edges(search: Search, best: Trial) -> list[tuple[str, str]]:
    """The parameters whose best value lies at an end of its range, each with that end in words.

    An end at 0 is left out: most values cannot go below.
    """
    space = search.space
    if space is None:
        return []
    found = []
    for key, value in best.values.items():
        end = _end(space.sampled[key], value) if key in space.sampled else None
        if end is not None:
            found.append((key, end))
    return found


def _of_the_run(search: Search) -> Iterator[str]:
    outcomes, ended = search.record.outcomes, sum(search.record.outcomes.values())
    if not search.trials:
        yield "No trial has begun."
    elif search.best is None:
        reasons = [trial.reason for trial in search.trials if trial.reason]
        why = f" The last reason: {reasons[-1]}." if reasons else ""
        yield f"No trial has completed, so there is no best network.{why}"
    if search.state == "interrupted":
        yield "The search was interrupted: go on with it before you judge the space."
    elif search.state == "unfinished":
        yield "The search has not ended: it is running, or its process died. The figures are those so far."
    for outcome in ("diverged", "failed"):
        count = outcomes[outcome]
        if ended and count / ended > MANY_LOST:
            yield f"{count} of {ended} ended trials {outcome}."


def _near_chance(search: Search, best: Trial) -> list[str]:
    classes = search.classes
    if classes is None or classes < 2 or best.log_loss is None or best.accuracy is None:
        return []
    guess, guessing = 1 / classes, math.log(classes)
    if best.log_loss <= _LOG_LOSS_SHARE * guessing and best.accuracy >= guess + _ACCURACY_SHARE * (1 - guess):
        return []
    return [
        f"The best network is near chance: log loss {best.log_loss:.3f} and accuracy {best.accuracy:.1%}, where "
        f"guessing among {classes} classes gives {guessing:.3f} and {guess:.1%}. "
        "Train longer (--epochs-per-cycle), try more trials (--trials), or give more data."
    ]


def _of_teachers(search: Search) -> list[str]:
    made = search.record.soft_labels
    found = None if made is None or made.share_right is None else wrong_teachers(made.share_right)
    return [] if found is None else [found]


def _beside_reference(search: Search) -> Iterator[str]:
    best, reference = search.best, search.reference
    among = "" if search.shipped is None else " in the search"
    if best is None:
        return
    if reference is None or reference.rank is None:
        yield "The reference (trial 0) did not complete, so nothing says what the search gained."
    elif reference is best:
        if len(search.completed) > 1:
            yield f"No trial beat the reference (trial 0){among}."
    else:
        assert best.log_loss is not None and reference.log_loss is not None
        assert best.accuracy is not None and reference.accuracy is not None
        if search.rank_by == "accuracy" and best.log_loss > reference.log_loss:
            yield (
                f"The accuracy rose{among} from {reference.accuracy:.1%} to {best.accuracy:.1%}, but the log loss rose "
                f"too: from {reference.log_loss:.3f} (the reference) to {best.log_loss:.3f}."
            )
        elif best.accuracy < reference.accuracy:
            yield (
                f"The log loss fell{among} from {reference.log_loss:.3f} to {best.log_loss:.3f}, but the accuracy fell "
                f"too: from {reference.accuracy:.1%} (the reference) to {best.accuracy:.1%}."
            )


def _of_noise(search: Search, best: Trial, interval: Interval | None) -> Iterator[str]:
    others, reference = ties(search, best, interval), search.reference
    if interval is None or not others:
        return
    ends = interval_in_words(interval, search.rank_by)
    if reference in others and reference is not None:
        reached = written(figure(reference, search.rank_by), search.rank_by)
        yield (
            f"The reference ({reached}) lies within {ends}, so the gain may be chance: more data would "
            "narrow the interval, more trials (--trials) may find a larger gain."
        )
    several = len(others) > 1
    yield (
        f"{len(others)} other trial{'s' if several else ''} ({some(trial.name for trial in others)}) "
        f"{'lie' if several else 'lies'} within {ends}: their order may be chance."
    )


def _of_edges(search: Search, best: Trial) -> Iterator[str]:
    found = edges(search, best)
    if found:
        listed = ", ".join(f"{key} {end}" for key, end in found)
        yield f"The best network lies at the edge of what was searched, so a better one may lie beyond: {listed}."


def _of_size(search: Search, best: Trial) -> Iterator[str]:
    limit = search.limit_kb * search.rule.unit_bytes
    if search.rule.name != "file" and best.file_bytes > limit:
        yield (
            f"The rule {search.rule.name} counts {best.counted_bytes:,} bytes of the best network, but its model file "
            f"has {best.file_bytes:,}, over the budget of {limit:,.0f}: search with --rule file if the file must fit."
        )


def _end(parameter: Parameter, value: Scalar) -> str | None:
    if isinstance(parameter, Choice) or not isinstance(value, int | float) or parameter.low == parameter.high:
        return None
    low, high, at = float(parameter.low), float(parameter.high), float(value)
    if isinstance(parameter, IntRange):
        slack = 0.0
        high -= (parameter.high - parameter.low) % parameter.step
    elif parameter.log and at > 0:
        low, high, at = math.log(low), math.log(high), math.log(at)
        slack = _EDGE_SHARE * (high - low)
    else:
        slack = _EDGE_SHARE * (high - low)
    if at >= high - slack:
        return f"{value:.3g} (the range ends at {parameter.high:g})"
    if at <= low + slack and parameter.low != 0:
        return f"{value:.3g} (the range begins at {parameter.low:g})"
    return None
