"""What the retraining of a search's best trials has found: for each finalist its mean, deviation and winner's curse.

The best of many noisy values looks better than it is, the more of them, the more so (the winner's curse; Cawley and
Talbot 2010, https://jmlr.org/papers/v11/cawley10a.html). So a search may retrain its best trials with fresh seeds and
judge them on a split that it has not seen (`asc.search.final`). The finalist with the lowest mean log loss there wins,
or that with the highest mean accuracy, if the search ranks by accuracy.
That split decides nothing else: validation says which seed of the winner is shipped, as it says which epoch is kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev

from asc.results import RankBy
from asc.runs.events import FinalistsChosen
from asc.runs.record import Final, RunRecord, TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One finalist: its trial, and its finals that were trained to their end; `wanted` is how many there should be."""

    trial: TrialRecord
    finals: tuple[Final, ...]
    wanted: int

    @property
    def search_log_loss(self) -> float:
        """The value that made it a finalist: the trial's log loss (nats) on validation."""
        assert self.trial.ended is not None and self.trial.ended.log_loss is not None, "finalists are completed trials"
        return self.trial.ended.log_loss

    @property
    def valid_log_loss(self) -> float | None:
        """The mean log loss (nats) of its finals on validation; None without finals."""
        return _mean(valid_log_loss(final) for final in self.finals)

    @property
    def log_loss(self) -> float | None:
        """The mean log loss (nats) of its finals on the confirmation clips; None without finals."""
        return _mean(final.confirmed.log_loss for final in self.finals if final.confirmed is not None)

    @property
    def accuracy(self) -> float | None:
        """The mean accuracy (0 to 1) of its finals on the confirmation clips; None without finals."""
        return _mean(final.confirmed.accuracy for final in self.finals if final.confirmed is not None)

    @property
    def deviation(self) -> float | None:
        """The standard deviation over seeds of the log loss on the confirmation clips; None for fewer than two."""
        values = [final.confirmed.log_loss for final in self.finals if final.confirmed is not None]
        return stdev(values) if len(values) > 1 else None

    @property
    def curse(self) -> float | None:
        """The winner's curse in nats: mean confirmation log loss minus the value that the search saw."""
        return None if self.log_loss is None else self.log_loss - self.search_log_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Finals:
    """The finalists, best first: those with all seeds trained before the others, then by the mean on confirmation.

    That is the mean of the figure that the search ranks by.
    `asked` are the finals of these finalists that were begun, and `complete` says that all have been and have ended.
    """

    chosen: FinalistsChosen
    rank_by: RankBy
    standings: tuple[Standing, ...]
    asked: tuple[Final, ...]
    complete: bool

    @property
    def ended(self) -> tuple[Final, ...]:
        """The finals of these finalists that have ended, trained to their end or not."""
        return tuple(final for final in self.asked if final.training.ended is not None)

    @property
    def lost(self) -> tuple[Final, ...]:
        """Those that ended without a network: they failed or diverged."""
        return tuple(final for final in self.ended if not _trained(final))

    @property
    def winner(self) -> Standing | None:
        """The best finalist; None before all finals have ended, or if none was trained to its end."""
        return self.standings[0] if self.complete and self.standings and self.standings[0].finals else None

    @property
    def shipped(self) -> Final | None:
        """The winner's final that is best on validation; the first of equal ones."""
        if self.winner is None:
            return None
        return min(self.winner.finals, key=valid_log_loss if self.rank_by == "log_loss" else _valid_error)


def finals_of(record: RunRecord) -> Finals | None:
    """The finals of a run, as its journal stands; None if no finalists were chosen."""
    chosen = record.finalists
    if chosen is None:
        return None
    every = {name: _of(record, name, chosen.seeds) for name in chosen.trials}
    standings = [
        Standing(
            trial=record.trials[name],
            finals=tuple(final for final in finals if _trained(final)),
            wanted=len(chosen.seeds),
        )
        for name, finals in every.items()
    ]
    ended = [final.training.ended is not None for finals in every.values() for final in finals]
    return Finals(
        chosen=chosen,
        rank_by=record.rank_by,
        standings=tuple(
            sorted(standings, key=partial(_rank, by=record.rank_by))
        ),  # without figures they stay in the order of the search
        asked=tuple(final for finals in every.values() for final in finals),
        complete=all(ended) and len(ended) == len(chosen.trials) * len(chosen.seeds),
    )


def valid_log_loss(final: Final) -> float:
    """The log loss (nats) of a completed final's stored network on validation."""
    ended = final.training.ended
    assert ended is not None and ended.log_loss is not None, "only completed finals are asked"
    return ended.log_loss


def _of(record: RunRecord, trial: str, seeds: Iterable[int]) -> list[Final]:
    wanted = set(seeds)
    return [final for final in list(record.finals.values()) if final.trial == trial and final.seed in wanted]


def _trained(final: Final) -> bool:
    ended = final.training.ended
    return ended is not None and ended.outcome == "completed" and final.confirmed is not None


def _valid_error(final: Final) -> float:
    """The error rate, 1 minus the accuracy, of a completed final on validation."""
    ended = final.training.ended
    assert ended is not None and ended.accuracy is not None, "only completed finals are asked"
    return 1.0 - ended.accuracy


def _rank(standing: Standing, by: RankBy) -> tuple[int, float]:
    error = None if standing.accuracy is None else 1.0 - standing.accuracy
    found = standing.log_loss if by == "log_loss" else error
    return standing.wanted - len(standing.finals), float("inf") if found is None else found


def _mean(values: Iterable[float]) -> float | None:
    every = list(values)
    return fmean(every) if every else None
