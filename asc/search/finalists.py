"""The finalists of a search, as a printed table, as a sentence on the winner, and as JSON."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from asc.runs.finals import Finals, Standing, valid_log_loss
from asc.runs.record import Final

_COLUMNS = ("#", "trial", "seeds", "search", "valid", "confirmation", "acc.", "curse")


def table(finals: Finals) -> Table:
    """A table for 80 columns: log losses in nats, means over the seeds, after "±" their standard deviation."""
    chosen = finals.chosen
    title = (
        f"Finalists, retrained for {chosen.cycles} x {chosen.epochs_per_cycle} epochs with {_count(chosen.seeds)} "
        f"(log loss; {_clips(finals)})"
    )
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0)
    for name in _COLUMNS:
        drawn.add_column(name, justify="left" if name == "trial" else "right", no_wrap=True)
    for rank, standing in enumerate(finals.standings, start=1):
        drawn.add_row(
            str(rank) if finals.winner else "",
            standing.trial.asked.trial,
            f"{len(standing.finals)}/{standing.wanted}",
            f"{standing.search_log_loss:.3f}",
            _figure(standing.valid_log_loss),
            _figure(standing.log_loss) + _spread(standing),
            "" if standing.accuracy is None else f"{standing.accuracy:.1%}",
            _curse(standing),
        )
    return drawn


def sentence(finals: Finals) -> str:
    """What the finals have decided, or how many of them are still to come."""
    winner, shipped = finals.winner, finals.shipped
    if winner is None or shipped is None:
        trained = sum(len(standing.finals) for standing in finals.standings)
        wanted = sum(standing.wanted for standing in finals.standings)
        if not finals.complete:
            return f"{trained} of {wanted} finals are trained, so the best is still that of the search"
        return f"no final was trained to its end, so the best is that of the search{_lost(finals)}"
    return (
        f"winner {winner.trial.asked.trial}: log loss {winner.search_log_loss:.3f} in the search, "
        f"{_figure(winner.log_loss)}{_spread(winner)} on confirmation: winner's curse (the difference) "
        f"{_curse(winner)}; saved is the seed with the {_best(finals, shipped)}{_lost(finals)}"
    )


def _best(finals: Finals, shipped: Final) -> str:
    """What the saved seed is best in, and its figure."""
    ended = shipped.training.ended
    if finals.rank_by == "accuracy" and ended is not None:
        return f"highest accuracy on validation, {shipped.seed} ({ended.accuracy:.1%})"
    return f"lowest log loss on validation, {shipped.seed} ({valid_log_loss(shipped):.3f})"


def _lost(finals: Finals) -> str:
    """How many finals have no network, and why the last one has none; empty if all were trained."""
    if not finals.lost:
        return ""
    ended = finals.lost[-1].training.ended
    reason = "" if ended is None or ended.reason is None else f" ({ended.reason})"
    return f"; {len(finals.lost)} of {len(finals.asked)} finals were not trained to their end{reason}"


def finals_json(finals: Finals | None) -> list[dict[str, object]]:
    """The finalists as plain dicts, best first; `rank` is None before all finals have ended."""
    if finals is None:
        return []
    return [
        _as_json(standing, rank if finals.winner else None) for rank, standing in enumerate(finals.standings, start=1)
    ]


def _as_json(standing: Standing, rank: int | None) -> dict[str, object]:
    return {
        "rank": rank,
        "trial": standing.trial.asked.trial,
        "search_log_loss": standing.search_log_loss,
        "valid_log_loss": standing.valid_log_loss,
        "confirmation_log_loss": standing.log_loss,
        "confirmation_deviation": standing.deviation,
        "confirmation_accuracy": standing.accuracy,
        "winners_curse": standing.curse,
        "trained": len(standing.finals),
        "wanted": standing.wanted,
        "seeds": [
            {
                "seed": final.seed,
                "final": final.training.asked.trial,
                "valid_log_loss": valid_log_loss(final),
                "confirmation_log_loss": final.confirmed and final.confirmed.log_loss,
                "confirmation_accuracy": final.confirmed and final.confirmed.accuracy,
            }
            for final in standing.finals
        ],
    }


def _clips(finals: Finals) -> str:
    confirmed = [final.confirmed for standing in finals.standings for final in standing.finals if final.confirmed]
    if not confirmed:
        return "none is trained to its end yet"
    return f"confirmation on {confirmed[0].clips} {confirmed[0].split} clips that the search did not use"


def _count(seeds: tuple[int, ...]) -> str:
    return f"{len(seeds)} seed{'s' * (len(seeds) != 1)}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _spread(standing: Standing) -> str:
    return "" if standing.deviation is None else f" ± {standing.deviation:.3f}"


def _curse(standing: Standing) -> str:
    return "" if standing.curse is None else f"{standing.curse:+.3f}"
