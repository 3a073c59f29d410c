"""The tables of the report page: the best network beside the reference, the leaderboard, and the outcomes."""

from collections.abc import Sequence

from asc.report.document import Cell, listed, paragraph, table, words
from asc.report.plot import MOST_TRIALS, OUTCOME_COLOURS
from asc.report.trials import Search, Trial
from asc.results import Interval

_LEADERBOARD = (
    *("#", "trial", "outcome", "log loss", "95 % interval", "accuracy", "95 % interval ", "KB", "file bytes"),
    *("MMAC/s", "RAM KB", "epochs", "repaired", "minutes"),
)
_LOST = ("diverged", "failed")


def beside(search: Search) -> str:
    """Figures and parameters of the best network and of the reference, where they differ first."""
    best, reference = search.best, search.reference
    if best is None:
        return ""
    if reference is None or reference is best:
        shown = [best]
    else:
        shown = [reference, best]
    names = ["", *(f"{trial.name}{' (reference)' if trial.reference else ''}" for trial in shown)]
    figures = [
        ("log loss", [number(trial.log_loss, 3) for trial in shown]),
        ("accuracy", [percent(trial.accuracy) for trial in shown]),
        ("KB", [f"{trial.kilobytes:.1f}" for trial in shown]),
        ("MMAC/s", [f"{trial.mmacs_per_s:.1f}" for trial in shown]),
        ("peak RAM, KB", [f"{trial.ram_kb:,.0f}" for trial in shown]),
        ("outcome", [trial.outcome for trial in shown]),
    ]
    keys = list(dict.fromkeys(key for trial in shown for key in trial.values))
    rows = [(key, [_value(trial, key) for trial in shown]) for key in keys]
    rows.sort(key=lambda row: len(set(row[1])) == 1)
    return table(names, [words([name, *values]) for name, values in [*figures, *rows]])


def leaderboard(search: Search) -> str:
    """The trials in order of rank, sortable by each column that says something; of a long search, the first ones."""
    rows = [_row(trial) for trial in search.trials[:MOST_TRIALS]]
    shown = [column for column in range(len(_LEADERBOARD)) if any(row[column].text for row in rows)]
    names = [_LEADERBOARD[column] for column in shown]
    return table(names, ([row[column] for column in shown] for row in rows), sortable=True)


def budgets(search: Search) -> str:
    """The best completed trial within each of several budgets, whichever budget it was asked for."""
    rows = []
    for limit in (*search.smaller_kb, search.limit_kb):
        best = next((trial for trial in search.completed if trial.kilobytes <= limit), None)
        found = ["", "", "", ""]
        if best is not None:
            found = [best.name, number(best.log_loss, 4), percent(best.accuracy), f"{best.kilobytes:.2f}"]
        rows.append(words([f"{limit:g}", *found]))
    return table(("budget, KB", "trial", "log loss", "accuracy", "KB"), rows)


def _row(trial: Trial) -> list[Cell]:
    return [
        Cell(text="" if trial.rank is None else str(trial.rank), sort=trial.rank),
        Cell(text=f"{trial.name}{_mark(trial)}", sort=trial.name),
        Cell(text=trial.outcome, sort=trial.outcome),
        Cell(text=number(trial.log_loss, 4), sort=trial.log_loss),
        Cell(text=ends(trial.log_loss_interval, ".3f"), sort=_low(trial.log_loss_interval)),
        Cell(text=percent(trial.accuracy), sort=trial.accuracy),
        Cell(text=ends(trial.accuracy_interval, ".1%"), sort=_low(trial.accuracy_interval)),
        Cell(text=f"{trial.kilobytes:.2f}", sort=trial.counted_bytes),
        Cell(text=f"{trial.file_bytes:,}", sort=trial.file_bytes),
        Cell(text=f"{trial.mmacs_per_s:.2f}", sort=trial.mmacs_per_s),
        Cell(text=f"{trial.ram_kb:,.0f}", sort=trial.ram_kb),
        Cell(text=str(trial.epochs), sort=trial.epochs),
        Cell(text="yes" if trial.repaired else "", sort="yes" if trial.repaired else None),
        Cell(text=f"{trial.seconds / 60:.1f}", sort=trial.seconds),
    ]


def _mark(trial: Trial) -> str:
    """What a trial is beside a point of the sampler: the reference, or one that was good before, tried again."""
    if trial.reference:
        return " ref."
    return "" if trial.earlier is None else f" as {trial.earlier}"


def outcomes(search: Search) -> str:
    """Trials, epochs and minutes by outcome, those of teachers and finals, and the points that became no trial."""
    groups = {outcome: [trial for trial in search.trials if trial.outcome == outcome] for outcome in OUTCOME_COLOURS}
    groups["teachers"] = list(search.teachers)
    groups["finals"] = list(search.finals)
    total = sum(trial.epochs for trials in groups.values() for trial in trials)
    rows = [_spent(outcome, trials, total) for outcome, trials in groups.items() if trials]
    drawn = table(("outcome", "trials", "epochs", "share of the epochs", "minutes"), rows) if rows else ""
    retries = sum(len(trial.retries) for trial in search.record.trials.values())
    said = [f"Lost workers: {retries}; their trials were tried again." if retries else ""]
    if refused := len(search.record.refused):
        twins = sum(point.twin is not None for point in search.record.refused)
        said.append(f"{refused} points became no trial: {twins} were drawn before, {refused - twins} did not fit.")
    reasons = [f"{trial.name} {trial.outcome}: {trial.reason}" for trial in search.trials if trial.outcome in _LOST]
    return drawn + "".join(map(paragraph, filter(None, said))) + listed(reasons[:10])


def _spent(outcome: str, trials: Sequence[Trial], total: int) -> list[Cell]:
    """The number of these trials, their epochs, the share of those in the total, and their minutes."""
    epochs, minutes = sum(trial.epochs for trial in trials), sum(trial.seconds for trial in trials) / 60
    share = epochs / total if total else 0.0
    return words([outcome, len(trials), f"{epochs:,}", f"{share:.0%}", f"{minutes:.1f}"])


def _value(trial: Trial, key: str) -> str:
    value = trial.values.get(key)
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def number(value: float | None, digits: int) -> str:
    """A number, or nothing."""
    return "" if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share as a percentage, or nothing."""
    return "" if value is None else f"{value:.1%}"


def ends(interval: Interval | None, kind: str) -> str:
    """The ends of an interval in a format such as ".3f" or ".1%", or nothing."""
    if interval is None:
        return ""
    return f"{interval.low:{kind}} to {interval.high:{kind}}"


def _low(interval: Interval | None) -> float | None:
    return None if interval is None else interval.low
