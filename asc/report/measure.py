"""The figure that a search ranks by, on the report page: its value for a trial, its interval, how it is written."""

from asc.report.trials import Trial
from asc.results import Interval, RankBy, words


def figure(trial: Trial, by: RankBy) -> float:
    """The figure of a completed trial: nats, or a share from 0 to 1."""
    found = trial.log_loss if by == "log_loss" else trial.accuracy
    assert found is not None, "only completed trials are asked"
    return found


def interval_of(trial: Trial, by: RankBy) -> Interval | None:
    """Its 95 % interval, if it is known."""
    return trial.log_loss_interval if by == "log_loss" else trial.accuracy_interval


def within(trial: Trial, interval: Interval, by: RankBy) -> bool:
    """Whether a trial is at least as good as the worse end of the best one's interval."""
    return figure(trial, by) <= interval.high if by == "log_loss" else figure(trial, by) >= interval.low


def written(value: float, by: RankBy) -> str:
    """A figure in a sentence."""
    return f"{value:.3f}" if by == "log_loss" else f"{value:.1%}"


def interval_in_words(interval: Interval, by: RankBy) -> str:
    """An interval of the best trial, in a sentence."""
    ends = f"{written(interval.low, by)} to {written(interval.high, by)}"
    return f"the 95 % interval of the best {words(by)} ({ends})"
