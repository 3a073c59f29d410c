"""What a journal says about a run as a whole: its trials and finals, their epochs and ends, and the ranking."""

import dataclasses
from bisect import insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from asc.errors import InputError
from asc.results import RankBy, SplitFigures
from asc.runs.events import (
    EpochDone,
    FinalAsked,
    FinalConfirmed,
    FinalistsChosen,
    PointRefused,
    RunEnded,
    RungReached,
    RunResumed,
    RunStarted,
    SoftLabelsMade,
    TeacherAsked,
    TrialAsked,
    TrialEnded,
    TrialPromoted,
    TrialRetried,
)
from asc.runs.journal import Entry
from asc.training_results import EpochMetrics, OutcomeKind


@dataclass(slots=True, kw_only=True)
class TrialRecord:
    """Everything that the journal says about one trial; `number` counts trials from 0 in the order asked.

    `paused_at` is the epoch after which it was paused, and None if it never was, or has been promoted since.
    """

    asked: TrialAsked
    asked_at_s: float
    number: int
    epochs: dict[int, EpochMetrics] = field(default_factory=dict)
    rungs: list[RungReached] = field(default_factory=list)
    retries: list[TrialRetried] = field(default_factory=list)
    paused_at: int | None = None
    ended: TrialEnded | None = None

    @property
    def state(self) -> OutcomeKind | Literal["paused", "unfinished"]:
        """How it ended; if it has not, whether it is paused or unfinished (it runs, or its process died)."""
        if self.ended is not None:
            return self.ended.outcome
        return "unfinished" if self.paused_at is None else "paused"


@dataclass(slots=True, kw_only=True)
class Final:
    """Everything that the journal says about one retraining of a finalist: of which trial, its seed, how it went.

    `soft_labels` is the digest of those that it learns from.
    """

    trial: str
    seed: int
    training: TrialRecord
    confirmed: SplitFigures | None = None
    soft_labels: str | None = None


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """A folded journal: the run's start, its trials in the order asked, and the points that became no trial.

    The finals and their teachers are apart from the trials, and nothing that counts or ranks trials counts them. Of
    `soft_labels`, the last count. Some values are needed at each event or twice a second, so they are updated, not
    recomputed: the `unfinished` trials, the epochs after which some of these are `paused`, the number of trials per
    outcome, and the ranking of the completed ones.
    """

    started: RunStarted
    started_at_s: float
    resumed: list[RunResumed] = field(default_factory=list)
    trials: dict[str, TrialRecord] = field(default_factory=dict)
    unfinished: dict[str, TrialRecord] = field(default_factory=dict)
    paused: dict[str, int] = field(default_factory=dict)
    outcomes: Counter[OutcomeKind] = field(default_factory=Counter)
    refused: list[PointRefused] = field(default_factory=list)
    finalists: FinalistsChosen | None = None
    teachers: dict[str, TrialRecord] = field(default_factory=dict)
    soft_labels: SoftLabelsMade | None = None
    finals: dict[str, Final] = field(default_factory=dict)
    ended: RunEnded | None = None
    _ranking: list[TrialRecord] = field(default_factory=list)

    @property
    def rank_by(self) -> RankBy:
        """The figure that trials are ranked by; a resume may have changed it."""
        layers = [self.started.settings, *(resumed.settings for resumed in self.resumed)]
        last = [layer["rank_by"] for layer in layers if "rank_by" in layer][-1:]
        return "accuracy" if last == ["accuracy"] else "log_loss"

    def completed(self) -> list[TrialRecord]:
        """Completed trials, best first by `rank_by` on validation; of equal ones, the earlier trial first."""
        return list(self._ranking)

    def ranked(self) -> list[tuple[int | None, TrialRecord]]:
        """All trials with their ranks: the completed ones as `completed`, then the others, which have no rank.

        The others are ordered by epochs trained (most first) and by their last figure.
        """
        others = [trial for trial in self.trials.values() if not trial.ended or trial.ended.outcome != "completed"]
        others.sort(
            key=lambda trial: (-max(trial.epochs, default=0), _last_figure(trial, self.rank_by), trial.asked.trial)
        )
        return [*enumerate(self._ranking, start=1), *((None, trial) for trial in others)]

    def training(self, name: str) -> TrialRecord:
        """The record of a trial, or of the training of a final or a teacher.

        Raises:
            InputError: there is none.
        """
        found = self.find(name)
        if found is None:
            raise InputError(
                f"the journal never asked for trial {name}: restore the file from a copy, or start a new run"
            )
        return found

    def find(self, name: str) -> TrialRecord | None:
        """As `training`; None if there is none."""
        if (final := self.finals.get(name)) is not None:
            return final.training
        return self.trials.get(name) or self.teachers.get(name)

    def after_trials(self) -> list[TrialRecord]:
        """The trainings of all teachers and finals. A copy: another thread may add to the record meanwhile."""
        return [*list(self.teachers.values()), *(final.training for final in list(self.finals.values()))]

    def confirm(self, confirmed: FinalConfirmed) -> None:
        """Record the figures of a final.

        Raises:
            InputError: there is no such final.
        """
        if confirmed.final not in self.finals:
            raise InputError(
                f"the journal never asked for final {confirmed.final}: restore the file from a copy, or start a new run"
            )
        self.finals[confirmed.final].confirmed = confirmed.figures

    def end(self, trial: TrialRecord, ended: TrialEnded) -> None:
        """Record the end of a trial, a teacher or a final; a second end is ignored."""
        if trial.ended is not None:
            return
        trial.ended = ended
        if ended.trial not in self.trials:
            return
        del self.unfinished[trial.asked.trial]
        self.paused.pop(trial.asked.trial, None)
        self.outcomes[ended.outcome] += 1
        if ended.outcome == "completed":
            insort(self._ranking, trial, key=self._rank)

    def resume(self, resumed: RunResumed) -> None:
        """Record a resume, after which trials may be ranked by another figure."""
        self.resumed.append(resumed)
        self.ended = None
        self._ranking.sort(key=self._rank)

    def _rank(self, trial: TrialRecord) -> tuple[float, float, int]:
        ended = trial.ended
        assert ended is not None and ended.log_loss is not None, "a completed trial has a log loss"
        first = ended.log_loss if self.rank_by == "log_loss" else -(ended.accuracy or 0.0)
        return first, ended.log_loss, trial.number


def _last_figure(trial: TrialRecord, by: RankBy) -> float:
    """The figure of the last epoch, the lower the better."""
    if not trial.epochs:
        return float("inf")
    last = trial.epochs[max(trial.epochs)]
    return last.valid_log_loss if by == "log_loss" else -last.valid_accuracy


def fold(entries: Sequence[Entry]) -> RunRecord:
    """Build the record of a run from its entries.

    Raises:
        InputError: there is no entry, the first one is not the start of a run, or a later one contradicts the others.
    """
    if not entries or not isinstance(entries[0].event, RunStarted):
        raise InputError("the journal is empty: the run never started; start it again under another name")
    record = RunRecord(started=entries[0].event, started_at_s=entries[0].time_s)
    for entry in entries[1:]:
        add(record, entry)
    return record


def add(record: RunRecord, entry: Entry) -> None:
    """Update a record with one more entry.

    Raises:
        InputError: the entry is a second start, or names a trial or a final that was never asked.
    """
    match entry.event:
        case TrialAsked() as asked:
            trial = TrialRecord(asked=asked, asked_at_s=entry.time_s, number=len(record.trials))
            record.trials[asked.trial] = record.unfinished[asked.trial] = trial
        case EpochDone() | RungReached() | TrialPromoted() | TrialRetried() | TrialEnded() as event:
            _add_to_training(record, event)
        case PointRefused() as refused:
            record.refused.append(refused)
        case FinalistsChosen() | TeacherAsked() | SoftLabelsMade() | FinalAsked() | FinalConfirmed() as event:
            _add_to_finals(record, event, entry.time_s)
        case RunResumed() as resumed:
            record.resume(resumed)
        case RunEnded() as run_ended:
            record.ended = run_ended
        case RunStarted():
            raise InputError("the journal starts twice: restore the file from a copy, or start a new run")


def _add_to_training(
    record: RunRecord, event: EpochDone | RungReached | TrialPromoted | TrialRetried | TrialEnded
) -> None:
    """Update the record of a trial, or of the training of a final."""
    training = record.training(event.trial)
    match event:
        case EpochDone():
            training.epochs[event.metrics.epoch] = event.metrics
        case RungReached():
            training.rungs.append(event)
            if event.paused:
                training.paused_at = event.epoch
                record.paused[event.trial] = event.epoch
        case TrialPromoted():
            training.paused_at = None
            record.paused.pop(event.trial, None)
        case TrialRetried():
            training.retries.append(event)
        case TrialEnded():
            record.end(training, event)


def _add_to_finals(
    record: RunRecord,
    event: FinalistsChosen | TeacherAsked | SoftLabelsMade | FinalAsked | FinalConfirmed,
    time_s: float,
) -> None:
    """Update what follows the trials: the finalists, their teachers, the finals."""
    match event:
        case FinalistsChosen():
            record.finalists = event
        case TeacherAsked():
            record.teachers[event.teacher] = _teacher(record, event, time_s)
        case SoftLabelsMade():
            record.soft_labels = event
        case FinalAsked():
            record.finals[event.final] = _final(record, event, time_s)
        case FinalConfirmed():
            record.confirm(event)


def _teacher(record: RunRecord, teacher: TeacherAsked, time_s: float) -> TrialRecord:
    """A new teacher: its trial with another config, and the size of that."""
    trial = record.training(teacher.trial)
    asked = dataclasses.replace(
        trial.asked,
        trial=teacher.teacher,
        title=teacher.title,
        point=None,
        config=teacher.config,
        reference=False,
        **dataclasses.asdict(teacher.size),
        macs_per_second=teacher.macs_per_second,
        peak_activation_bytes=teacher.peak_activation_bytes,
    )
    return TrialRecord(asked=asked, asked_at_s=time_s, number=trial.number)


def _final(record: RunRecord, final: FinalAsked, time_s: float) -> Final:
    """A new final; its network, and so its predicted size, is that of its trial."""
    trial = record.training(final.trial)
    asked = dataclasses.replace(
        trial.asked, trial=final.final, title=final.title, point=None, config=final.config, reference=False
    )
    training = TrialRecord(asked=asked, asked_at_s=time_s, number=trial.number)
    return Final(trial=final.trial, seed=final.seed, training=training, soft_labels=final.soft_labels)
