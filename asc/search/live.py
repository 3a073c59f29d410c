"""The display of a running search: a live progress line (in a terminal) and one line per finished trial.

It listens to the journal, so it shows only what is on disk.
"""

import functools
import time

from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from asc.config.experiment import Experiment, Schedule
from asc.console.progress import LiveLine, clock
from asc.errors import counted
from asc.runs.events import (
    EpochDone,
    FinalAsked,
    FinalistsChosen,
    RungReached,
    SoftLabelsMade,
    TeacherAsked,
    TrialAsked,
    TrialEnded,
    TrialPromoted,
    TrialRetried,
)
from asc.runs.finals import finals_of
from asc.runs.journal import Entry
from asc.runs.record import RunRecord, TrialRecord
from asc.search.live_trials import running_line, running_lines
from asc.search.rungs import planned_epochs
from asc.search.settings import SearchSettings
from asc.size.rules import Rule, counted_bytes
from asc.typed import Scalar


class LiveView(LiveLine):
    """A context manager that draws the live line; add `heard` to the listeners of the journal."""

    def __init__(
        self,
        console: Console,
        record: RunRecord,
        settings: SearchSettings,
        rule: Rule,
        *,
        expected_s: float | None = None,
    ) -> None:
        """The conductor keeps `record` up to date: it hears of every journal entry first.

        `expected_s` is how long the whole search may take, which tells the time left before anything has been measured.
        """
        super().__init__(console)
        self._expected_s = expected_s
        self._record, self._settings, self._rule = record, settings, rule
        self._started = time.monotonic()
        self._before = self._count_done() + self._share_running()
        self._progress = Progress(TextColumn("{task.description}"), BarColumn(bar_width=30), console=console)
        self._bar = self._progress.add_task("", total=self._total())

    def heard(self, entry: Entry) -> None:
        """Print a line for each trial that ends or is retried and, without a terminal, for each that begins.

        The same goes for finals and their teachers.
        """
        match entry.event:
            case TrialEnded() as ended:
                self._heard_end(ended)
            case RungReached(paused=True) as reached:
                self._say(self._paused_line(reached))
            case TrialPromoted() as promoted if not self._console.is_terminal:
                title = self._record.trials[promoted.trial].asked.title
                self._say(f"        {title} goes on after epoch {promoted.epoch}")
            case FinalistsChosen() as chosen:
                self._say(f"        finalists, best first: {', '.join(chosen.trials)}")
            case SoftLabelsMade() as made:
                right = "" if made.share_right is None else f", right about {made.share_right:.0%} of them"
                self._say(f"        {made.clips} clips have soft labels of {', '.join(map(str, made.teachers))}{right}")
            case TrialRetried() as retried:
                self._say(f"        {retried.trial}: {retried.reason}; it resumes after epoch {retried.epoch}")
            case TrialAsked() | TeacherAsked() | FinalAsked() if not self._console.is_terminal:
                self._say(f"        {entry.event.title} begins")

    def _heard_end(self, ended: TrialEnded) -> None:
        """Print the line of what has ended: a final, a teacher or a trial."""
        if ended.trial in self._record.finals:
            self._say(self._final_line(ended.trial))
        elif ended.trial in self._record.teachers:
            self._say(self._teacher_line(ended))
        elif self._record.trials[ended.trial].paused_at is None:  # else its line was printed when it was paused
            self._say(self._ended_line(self._record.trials[ended.trial]))

    def epoch_heard(self, entry: Entry) -> None:
        """Print a line for each epoch of each trial and final: another listener, for those who want it."""
        if isinstance(entry.event, EpochDone):
            self._say(f"      {running_line(self._record.training(entry.event.trial))}")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False)

    def _paused_line(self, reached: RungReached) -> str:
        place = f"        {self._record.trials[reached.trial].asked.title}"
        at = f"paused after epoch {reached.epoch} at log loss {reached.log_loss:.3f}"
        return f"{place}: {at}{self._so_far()}"

    def _ended_line(self, trial: TrialRecord) -> str:
        ended = trial.ended
        assert ended is not None
        place = f"[{self._count_ended()}/{self._settings.trials}] {trial.asked.title}"
        match ended.outcome:
            case "completed":
                assert ended.log_loss is not None and ended.accuracy is not None
                fused = {None: "", True: ", calibrated", False: ", calibration did not help"}[ended.calibrated]
                what = f"log loss {ended.log_loss:.3f}, accuracy {ended.accuracy:.1%}{fused}, {ended.seconds:.0f} s"
                return f"{place}: {what}{self._so_far()}"
            case "stopped":
                last = trial.epochs[max(trial.epochs)]
                at = f"stopped after epoch {ended.epochs} at log loss {last.valid_log_loss:.3f}"
                return f"{place}: {at}, {ended.seconds:.0f} s{self._so_far()}"
            case _:
                return f"{place}: {ended.outcome}, {ended.reason}"

    def _final_line(self, name: str) -> str:
        final = self._record.finals[name]
        ended = final.training.ended
        assert ended is not None
        place = f"[final {self._count_finals()}/{self._wanted_finals()}] {final.training.asked.title}"
        if final.confirmed is None:
            return f"{place}: {ended.outcome}, {ended.reason}"
        left = "" if self._console.is_terminal else f" ({self._time_left()})"
        return (
            f"{place}: {final.confirmed.split} log loss {final.confirmed.log_loss:.3f}, accuracy "
            f"{final.confirmed.accuracy:.1%}, {ended.seconds:.0f} s{left}"
        )

    def _teacher_line(self, ended: TrialEnded) -> str:
        found = f"log loss {ended.log_loss:.3f}" if ended.log_loss is not None else f"{ended.outcome}, {ended.reason}"
        return f"        {self._record.teachers[ended.trial].asked.title}: {found}, {ended.seconds:.0f} s"

    def _so_far(self) -> str:
        """The best trial and the time left, for the end of a line; nothing in a terminal, whose last line says both."""
        return "" if self._console.is_terminal else f" ({self._best()}; {self._time_left()})"

    def _best(self) -> str:
        completed = self._record.completed()
        if not completed or completed[0].ended is None:
            return "no trial has finished yet"
        best = completed[0]
        ended = completed[0].ended
        kilobytes = counted_bytes(self._rule, best.asked.predicted) / self._rule.unit_bytes
        return (
            f"best {best.asked.trial}: log loss {ended.log_loss:.3f}, accuracy {ended.accuracy:.1%}, {kilobytes:.1f} KB"
        )

    def _view(self) -> Group:
        self._progress.update(
            self._bar,
            total=self._total(),
            completed=self._count_done() + self._share_running(),
            description=self._trials_said()
            + (f", {self._count_finals()} of {self._wanted_finals()} finals" if self._record.finalists else ""),
        )
        running = [Text(line, no_wrap=True, overflow="ellipsis") for line in running_lines(self._record)]
        return Group(self._progress, *running, Text(f"{self._best()} · {self._time_left()}"))

    def _trials_said(self) -> str:
        """How many trials have ended; while some are paused, how many have begun and how many wait."""
        if self._record.paused:
            return (
                f"{len(self._record.trials)} of {counted(self._settings.trials, 'trial')} begun, "
                f"{len(self._record.paused)} paused"
            )
        return f"{self._count_ended()} of {counted(self._settings.trials, 'trial')}"

    def _time_left(self) -> str:
        elapsed = time.monotonic() - self._started
        total = self._total()
        progress = self._count_done() + self._share_running() - self._before
        left = elapsed / progress * (total - self._before - progress) if progress > 0.05 else None
        if left is None and self._expected_s is not None:
            left = max(0.0, self._expected_s * (1 - self._before / total) - elapsed)
        if self._settings.time_budget_min is not None:
            budget = max(0.0, self._settings.time_budget_min * 60 - elapsed)
            left = budget if left is None else min(left, budget)
        return "time left: not known yet" if left is None else f"about {clock(left)} left"

    def _share_running(self) -> float:
        """How much of the running trials is done, in trials: two half-trained ones count 1."""
        # A copy, because the thread that draws the live line reads it while the search adds trials.
        running = list(self._record.unfinished.values())
        finals = [training for training in self._record.after_trials() if training.ended is None]
        return float(
            sum(len(trial.epochs) / self._total_epochs(trial) for trial in running)
            + sum(len(training.epochs) / self._total_epochs(training) * self._weight() for training in finals)
        )

    def _total_epochs(self, trial: TrialRecord) -> int:
        config = trial.asked.config
        return _epochs(*(config.get(f"schedule.{key}", 1) for key in ("cycles", "epochs_per_cycle", "cycle_growth")))

    def _count_ended(self) -> int:
        return len(self._record.trials) - len(self._record.unfinished)

    def _count_finals(self) -> int:
        finals = finals_of(self._record)
        return 0 if finals is None else len(finals.ended)

    def _wanted_finals(self) -> int:
        """How many finals there are to be: those of the chosen finalists, or before the choice as many as asked for."""
        chosen = self._record.finalists
        return self._settings.finals if chosen is None else len(chosen.trials) * len(chosen.seeds)

    def _count_done(self) -> float:
        """How much has ended, in trials; if trials pause, how much they trained before."""
        ended = self._count_trained() if self._settings.asha == "promotion" else self._count_ended()
        taught = sum(teacher.ended is not None for teacher in list(self._record.teachers.values()))
        return ended + (self._count_finals() + taught) * self._weight()

    def _count_trained(self) -> float:
        """The epochs of ended trials, in whole trials."""
        every = list(self._record.trials.values())
        return sum(len(trial.epochs) / self._total_epochs(trial) for trial in every if trial.ended is not None)

    def _total(self) -> float:
        """How much there is to do, in trials."""
        return self._total_trials() + (self._wanted_finals() + self._settings.teachers) * self._weight()

    def _total_trials(self) -> float:
        """How many whole trials will be trained; if trials pause, that is an estimate."""
        first = next(iter(list(self._record.trials.values())), None)
        if first is None or self._settings.asha == "stopping":
            return self._settings.trials
        schedule = Experiment.from_flat(first.asked.config).schedule
        return planned_epochs(self._settings, schedule) / schedule.epochs

    def _weight(self) -> float:
        """How many trials have the epochs of one final; all trials have the same number."""
        first = next(iter(list(self._record.trials.values())), None)
        if first is None or self._settings.final_top == 0:
            return 1.0
        return (self._settings.final_cycles or 0) * (self._settings.final_epochs or 0) / self._total_epochs(first)


@functools.cache
def _epochs(cycles: Scalar, epochs_per_cycle: Scalar, cycle_growth: Scalar) -> int:
    """The epochs of a schedule. Kept, because they are asked for all trials, at each event and twice a second."""
    schedule = Schedule(cycles=int(cycles), epochs_per_cycle=int(epochs_per_cycle), cycle_growth=int(cycle_growth))
    return schedule.epochs
