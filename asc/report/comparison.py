"""One page for several searches: which was better, how they differ, their progress, and the best networks."""

from collections.abc import Iterator, Sequence

from asc.report.document import Cell, Section, document, listed, paragraph, table, words
from asc.report.figures import reached
from asc.report.measure import figure, interval_of, within, written
from asc.report.trials import Search
from asc.results import words as words_of
from asc.typed import Scalar

_COLUMNS = (
    *("search", "state", "space", "budget KB", "rule", "completed", "trials", "epochs", "best log loss"),
    *("95 % interval", "accuracy", "KB", "MMAC/s"),
)
# Searches that differ in one of these do not rank networks by the same measure.
_MEASURE = {"data": "data", "fold": "test fold", "data_seed": "data seed", "holdout_devices": "held-out devices"}
_PLACES = ("mlflow_uri", "address")  # where a search ran, not what it did
_MEASURE |= {"device_irs": "simulated devices"}


def comparison_page(searches: Sequence[Search]) -> bytes:
    """The page that compares these searches, in their order."""
    found = verdict(searches)
    others = [sentence for sentence in doubts(searches) if sentence != found]
    sections = [
        Section(
            key="searches",
            title="Searches",
            body=paragraph(found) + listed(others, "cautions") + table(_COLUMNS, map(_row, searches), sortable=True),
        ),
        Section(key="differences", title="How the searches differ", body=_differences(searches)),
        Section(
            key="reached",
            title="Progress",
            body=paragraph("Each step is a completed trial that was better than all before it."),
            figures=(reached(searches),),
        ),
        Section(key="best", title="The best networks", body=_bests(searches)),
    ]
    return document(" and ".join(search.name for search in searches), "", sections)


def verdict(searches: Sequence[Search]) -> str:
    """Which search was better, as far as the figures say so."""
    ranked = _ranked(searches)
    if not ranked:
        return "No search has completed a trial yet."
    if any(_incomparable(searches)):
        return "These figures do not say which search was better, because they are not of the same kind."
    if len(ranked) == 1:
        return f"Only {ranked[0].name} has completed a trial."
    if noise := next(_noise(searches), None):
        return noise
    by, (first, second) = ranked[0].rank_by, (search.completed[0] for search in ranked[:2])
    interval = interval_of(first, by)
    ends = "" if interval is None else f" (95 % interval {written(interval.low, by)} to {written(interval.high, by)})"
    return (
        f"{ranked[0].name} was better: its best network has {words_of(by)} {written(figure(first, by), by)}{ends}, and "
        f"the best of {ranked[1].name} {written(figure(second, by), by)}{', outside that interval' if ends else ''}. "
        f"Other seeds may change that.{_at_equal_size(ranked[0], ranked[1])}"
    )


def _at_equal_size(first: Search, second: Search) -> str:
    """Of two searches with different budgets, what each found within the smaller one; otherwise nothing."""
    if first.rule.name != second.rule.name or first.limit_kb == second.limit_kb:
        return ""
    by, limit = first.rank_by, min(first.limit_kb, second.limit_kb)
    found = []
    for search in (first, second):
        best = next((trial for trial in search.completed if trial.kilobytes <= limit), None)
        has = f"the best of {search.name} has {written(figure(best, by), by)}" if best else f"{search.name} has none"
        found.append(has)
    return f" Their budgets differ. Of networks within {limit:g} KB, {found[0]}, and {found[1]}."


def _differences(searches: Sequence[Search]) -> str:
    """The options in which the searches differ, which may be why one was better."""
    spaces = {"space": [(search.record.started.space or "").partition("\n")[0] for search in searches]}
    keys = dict.fromkeys(key for search in searches for key in search.settings)
    options = {key: [_shown(search.settings.get(key)) for search in searches] for key in keys if key not in _PLACES}
    rows = [[f"--{key.replace('_', '-')}", *values] for key, values in {**spaces, **options}.items()]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    if not differing:
        text = (
            "They have the same options. What differs is chance: with several trials at a time, the points depend on "
        )
        return paragraph(f"{text}which trial ends first.")
    return table(["option", *(search.name for search in searches)], map(words, differing))


def doubts(searches: Sequence[Search]) -> list[str]:
    """Why the searches cannot be compared, or not quite, and whether their best networks really differ."""
    return [*_measures(searches), *_noise(searches)]


def _measures(searches: Sequence[Search]) -> Iterator[str]:
    yield from _incomparable(searches)
    if len({search.rule.name for search in searches}) > 1:
        yield "The searches count bytes by different rules: KB of one are not KB of the other."
    elif len({search.limit_kb for search in searches}) > 1:
        yield "The searches have different budgets: a larger one allows better networks."


def _incomparable(searches: Sequence[Search]) -> Iterator[str]:
    for key, name in _MEASURE.items():
        values = {str(search.settings.get(key)) for search in searches}
        if len(values) > 1:
            yield f"The searches differ in their {name}, so their figures are not of the same clips."
    if _data_changed(searches) and len({search.settings.get("data") for search in searches}) == 1:
        yield "The data changed between the searches (files, labels or splits): the figures are not of the same clips."
    if len({search.rank_by for search in searches}) > 1:
        yield "The searches rank by different figures (--rank-by), so each names the best in its own sense."


def _data_changed(searches: Sequence[Search]) -> bool:
    """Whether the digest of the data differs among searches that divide it in the same way."""
    digests: dict[tuple[Scalar | None, ...], set[str | None]] = {}
    for search in searches:
        digests.setdefault(_divides(search), set()).add(search.record.started.data_digest)
    return any(len(found) > 1 for found in digests.values())


def _divides(search: Search) -> tuple[Scalar | None, ...]:
    """The settings that decide whether a search sets clips aside for its finals, which the digest covers.

    Only one that begins with finals does so, and only if its trials may be calibrated.
    """
    started = search.record.started
    if not started.settings.get("final_top"):
        return ()
    return started.space, *(started.settings.get(key) for key in ("recipe", "calibrate"))


def _ranked(searches: Sequence[Search]) -> list[Search]:
    """Those that have completed a trial and rank by the figure of the first, the best one first."""
    by = searches[0].rank_by
    better = 1 if by == "log_loss" else -1
    return sorted(
        (search for search in searches if search.best is not None and search.rank_by == by),
        key=lambda search: better * figure(search.completed[0], by),
    )


def _noise(searches: Sequence[Search]) -> Iterator[str]:
    by, ranked = searches[0].rank_by, _ranked(searches)
    if len(ranked) < 2:
        return
    first, second = (search.completed[0] for search in ranked[:2])
    interval = interval_of(first, by)
    if interval is not None and within(second, interval, by):
        ends = f"{written(interval.low, by)} to {written(interval.high, by)}"
        yield (
            f"{ranked[0].name} is ahead ({written(figure(first, by), by)}), but the best of {ranked[1].name} "
            f"({written(figure(second, by), by)}) lies within its 95 % interval ({ends}): the difference may be chance."
        )


def _row(search: Search) -> list[Cell]:
    best, space = search.best, (search.record.started.space or "").partition("\n")[0]
    interval = None if best is None else best.log_loss_interval
    cells = [
        Cell(text=search.name, sort=search.name),
        Cell(text=search.state, sort=search.state),
        Cell(text=space, sort=space),
        Cell(text=f"{search.limit_kb:g}", sort=search.limit_kb),
        Cell(text=search.rule.name, sort=search.rule.name),
        Cell(text=str(len(search.completed)), sort=len(search.completed)),
        Cell(text=str(len(search.trials)), sort=len(search.trials)),
        Cell(text=f"{search.epochs:,}", sort=search.epochs),
    ]
    if best is None or best.log_loss is None or best.accuracy is None:
        return cells + words([""] * 5)
    return [
        *cells,
        Cell(text=f"{best.log_loss:.4f}", sort=best.log_loss),
        Cell(text="" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"),
        Cell(text=f"{best.accuracy:.1%}", sort=best.accuracy),
        Cell(text=f"{best.kilobytes:.2f}", sort=best.kilobytes),
        Cell(text=f"{best.mmacs_per_s:.2f}", sort=best.mmacs_per_s),
    ]


def _bests(searches: Sequence[Search]) -> str:
    """The parameters of the best network of each search, side by side."""
    found = [(search, search.best) for search in searches if search.best is not None]
    keys = list(dict.fromkeys(key for _, best in found for key in best.values))
    rows = [[key, *(_shown(best.values.get(key)) for _, best in found)] for key in keys]
    rows.sort(key=lambda row: len(set(row[1:])) == 1)
    return table(["", *(f"{search.name} {best.name}" for search, best in found)], map(words, rows)) if rows else ""


def _shown(value: Scalar | None) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
