"""The lines of the live view for what is being trained now: cycle, epoch and last log loss of each trial and final."""

from asc.config.experiment import Experiment
from asc.runs.record import RunRecord, TrialRecord

MOST_LINES = 8


def running_lines(record: RunRecord, most: int = MOST_LINES) -> list[str]:
    """A line for each trial and final that is trained, at most `most` and a line that counts the others.

    Another thread may add to the record meanwhile.
    """
    trials = [trial for trial in list(record.unfinished.values()) if trial.paused_at is None]
    running = [*trials, *(training for training in record.after_trials() if training.ended is None)]
    more = len(running) - most
    return [*map(running_line, running[:most]), *([f"  and {more} more"] if more > 0 else [])]


def running_line(training: TrialRecord) -> str:
    """The line of one trial or final: the epoch that it is in, and the log loss (nats) of the last one that is done."""
    schedule = Experiment.from_flat(training.asked.config).schedule
    done = max(list(training.epochs), default=0)
    epoch = min(done + 1, schedule.epochs)
    cycle = next(number for number, end in enumerate(schedule.cycle_ends, start=1) if epoch <= end)
    reached = f", log loss {training.epochs[done].valid_log_loss:.3f}" if done else ""
    place = f"cycle {cycle} of {schedule.cycles}, epoch {epoch} of {schedule.epochs}"
    return f"  {training.asked.title}: {place}{reached}"
