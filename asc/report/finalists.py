"""The finalists of a search on its report page: what the search saw of each, and what unseen clips say."""

from asc.report.document import Cell, paragraph, table, words
from asc.report.page_tables import number, percent
from asc.report.trials import Search
from asc.runs.finals import Finals, Standing, finals_of, valid_log_loss

_COLUMNS = ("#", "trial", "seeds", "search", "validation", "confirmation", "±", "accuracy", "winner's curse")


def finalists(search: Search) -> str:
    """A table of the finalists, best first, and what they have decided; empty without `--final-top`."""
    finals = finals_of(search.record)
    if finals is None:
        return ""
    ranked = finals.winner is not None
    rows = [_row(place if ranked else None, one) for place, one in enumerate(finals.standings, start=1)]
    return paragraph(_decided(finals)) + table(_COLUMNS, rows)


def _row(rank: int | None, standing: Standing) -> list[Cell]:
    trained = f"{len(standing.finals)} of {standing.wanted}"
    return words(
        [
            "" if rank is None else rank,
            standing.trial.asked.trial,
            trained,
            number(standing.search_log_loss, 3),
            number(standing.valid_log_loss, 3),
            number(standing.log_loss, 3),
            number(standing.deviation, 3),
            percent(standing.accuracy),
            "" if standing.curse is None else f"{standing.curse:+.3f}",
        ]
    )


def _decided(finals: Finals) -> str:
    chosen, shipped = finals.chosen, finals.shipped
    text = (
        f"The best {len(chosen.trials)} trials, each retrained with {len(chosen.seeds)} "
        f"{'seed' if len(chosen.seeds) == 1 else 'seeds'} for {chosen.cycles} x "
        f"{chosen.epochs_per_cycle} epochs. Figures are means over seeds; confirmation is on clips that the search did "
        "not use."
    )
    if shipped is None:
        return f"{text} {'None was trained to its end.' if finals.complete else 'Not all of them are trained yet.'}"
    return (
        f"{text} {shipped.trial} won, and seed {shipped.seed}, the best on "
        f"validation (log loss {valid_log_loss(shipped):.3f}), is saved as the best network."
    )
