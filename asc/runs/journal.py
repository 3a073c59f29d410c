"""The journal of a run: append-only JSON lines, each flushed to disk. It is the only source of truth about the run.

Leaderboard, live view, MLflow and resume all read it. If a process died while it wrote the last line, that line is
dropped when the journal is opened again; a damaged line anywhere else is an error.
"""

import dataclasses
import fcntl
import json
import os
import time
import types
import typing
from bisect import insort
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from asc.errors import InputError
from asc.results import EpochMetrics, Interval, OutcomeKind, SplitFigures, StoredSize
from asc.typed import Scalar, build


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The first event of a run; `settings` are its options.

    `space` is the text of a search's space, `reference` the flat config of its trial 0 before repair. `data_digest` is
    the digest of the manifest, because a search can be resumed only on the same data.
    """

    name: str
    kind: Literal["search", "train"]
    settings: Mapping[str, Scalar]
    git_commit: str | None = None
    space: str | None = None
    data_digest: str | None = None
    reference: Mapping[str, Scalar] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed:
    """The run is resumed in a new process; `settings` holds the options that were given on resume."""

    settings: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRefused:
    """A sampled point that became no trial: it cannot be repaired, or the trial `twin` has the same config."""

    point: Mapping[str, Scalar]
    reason: str
    twin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialAsked:
    """A trial will run. `point` is what was drawn (None: not in the space), `config` the flat config after repair.

    Parameters and bytes are predicted; the `nonzero_` ones leave out the weights that will be pruned.
    """

    trial: str
    title: str
    point: Mapping[str, Scalar] | None
    config: Mapping[str, Scalar]
    repaired: bool
    reference: bool = False
    parameters: int
    size_bytes: int
    nonzero_parameters: int
    nonzero_bytes: int
    file_bytes: int
    macs_per_second: int
    peak_activation_bytes: int

    @property
    def predicted(self) -> StoredSize:
        """What the network stores, as predicted by the size law."""
        return StoredSize(
            parameters=self.parameters,
            size_bytes=self.size_bytes,
            nonzero_parameters=self.nonzero_parameters,
            nonzero_bytes=self.nonzero_bytes,
            file_bytes=self.file_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochDone:
    """A finished epoch of a trial; `checkpoint` is its path, relative to the run's folder."""

    trial: str
    metrics: EpochMetrics
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRetried:
    """A trial's worker or node died or failed after this epoch; another worker continues from the checkpoint."""

    trial: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RungReached:
    """Early stopping compared a trial at the end of a cycle, by the validation log loss.

    A `paused` trial keeps its checkpoint, and no worker trains it until it is promoted.
    """

    trial: str
    epoch: int
    log_loss: float
    stopped: bool
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPromoted:
    """A trial that was paused at the rung after this epoch is among its best: it goes on from its checkpoint."""

    trial: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """The end of a trial. A completed trial has the figures of the stored network on the validation split.

    `log_loss` is in nats, `accuracy` from 0 to 1; their 95 % intervals are None in journals of asc 0.1 and where none
    can be computed. `built` is counted on the trained network. `calibrated` says whether a calibration was applied
    (None: none was asked for), `optimistic` whether it was fitted on test clips.
    """

    trial: str
    outcome: OutcomeKind
    epochs: int
    seconds: float
    log_loss: float | None = None
    accuracy: float | None = None
    built: StoredSize | None = None
    calibrated: bool | None = None
    optimistic: bool = False
    model: str | None = None
    reason: str | None = None
    log_loss_interval: Interval | None = None
    accuracy_interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalistsChosen:
    """The best `trials` of a search, best first; each is retrained with each of the seeds, for this schedule.

    A search that is resumed with more trials may choose again; the last choice counts.
    """

    trials: tuple[str, ...]
    seeds: tuple[int, ...]
    cycles: int
    epochs_per_cycle: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalAsked:
    """A finalist will be retrained: the network of `trial` with another seed and schedule, as a training named `final`.

    Its epochs, retries and end are the events of a trial with the name `final`.
    """

    final: str
    trial: str
    title: str
    seed: int
    config: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalConfirmed:
    """The figures of a retrained finalist's stored network on clips that the search has not seen."""

    final: str
    figures: SplitFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The run's process ended cleanly. Both outcomes can be resumed, a finished search with more trials.

    `best` is the trial whose model is in `best/`; with finalists, it is the final.
    """

    outcome: Literal["finished", "interrupted"]
    best: str | None


Event = (
    RunStarted
    | RunResumed
    | PointRefused
    | TrialAsked
    | EpochDone
    | TrialRetried
    | RungReached
    | TrialPromoted
    | TrialEnded
    | FinalistsChosen
    | FinalAsked
    | FinalConfirmed
    | RunEnded
)
_KINDS: Mapping[str, type[Event]] = types.MappingProxyType({kind.__name__: kind for kind in typing.get_args(Event)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event with its time in seconds since 1970 (UTC) and the byte offset at which its line ends."""

    time_s: float
    event: Event
    end_offset: int


class Journal:
    """The journal of one run, open for appending; only one process at a time can open it."""

    def __init__(self, path: Path) -> None:
        """Open or create the journal, read its entries, and cut off a half-written last line.

        Raises:
            InputError: another process has it open, or a line is damaged (the message names the line).
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.listeners: list[Callable[[Entry], None]] = []
        self.failure: OSError | None = None
        # Unbuffered: otherwise data that a failed write left in a buffer could be written later, unknown to `append`.
        self._file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.entries = list(read_journal(path))
        except BlockingIOError as error:
            self._file.close()
            raise InputError(
                f"{path} is in use: another process is running {path.parent.name}; wait for it or stop it"
            ) from error
        except InputError:
            self._file.close()
            raise
        self._end = self.entries[-1].end_offset if self.entries else 0
        self._file.truncate(self._end)

    def append(self, event: Event) -> Entry:
        """Write an event to disk, then call the listeners.

        Raises:
            OSError: the disk is full or gone; the event is not in the journal, and earlier events stay intact.
            ValueError: a number in the event is not finite; nothing is written.
        """
        now = time.time()
        line = json.dumps({"event": type(event).__name__, "time_s": now, **dataclasses.asdict(event)}, allow_nan=False)
        try:
            self._write(line.encode() + b"\n")
        except OSError as error:
            self.failure = OSError(error.errno, error.strerror, str(self.path))
            raise self.failure from error
        entry = Entry(time_s=now, event=event, end_offset=self._end)
        self.entries.append(entry)
        for listener in self.listeners:
            listener(entry)
        return entry

    def _write(self, data: bytes) -> None:
        """Write all of the data to disk, or nothing: a write cut short by a full disk or an interrupt is undone."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
            self._end += len(data)
        finally:
            self._file.truncate(self._end)

    def close(self) -> None:
        """Close the file and release its lock."""
        self._file.close()


def read_journal(path: Path, offset: int = 0) -> tuple[Entry, ...]:
    """The entries of a journal from a byte offset on, without a half-written last line.

    Raises:
        InputError: the file does not exist or cannot be read, or a line is damaged.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except OSError as error:
        raise _unreadable(path, error) from error
    entries, position = [], offset
    *whole, _ = data.split(b"\n")  # after the last newline there is nothing, or a half-written line
    for line in whole:
        entries.append(_decoded(line, path, position))
        position = entries[-1].end_offset
    return tuple(entries)


def read_start(path: Path) -> Entry | None:
    """The first entry of a journal, read without the others; None if the journal has none yet.

    Raises:
        InputError: the file does not exist or cannot be read, or the line is damaged.
    """
    try:
        with path.open("rb") as file:
            line = file.readline()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _decoded(line[:-1], path, 0) if line.endswith(b"\n") else None


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror}): give the name of a run that exists")


def _decoded(line: bytes, path: Path, position: int) -> Entry:
    """Decode a line that begins at byte `position` of the journal."""
    try:
        tree: dict[str, Any] = json.loads(line)
        event = build(_KINDS[tree.pop("event")], {k: v for k, v in tree.items() if k != "time_s"})
        return Entry(time_s=float(tree["time_s"]), event=event, end_offset=position + len(line) + 1)
    except (InputError, ValueError, KeyError, TypeError, AttributeError) as error:
        number = path.read_bytes().count(b"\n", 0, position) + 1
        raise InputError(
            f"{path}, line {number} is damaged, or written by another version of asc ({error}): restore the file from "
            "a copy, or start a new run"
        ) from error


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
    """Everything that the journal says about one retraining of a finalist: of which trial, its seed, how it went."""

    trial: str
    seed: int
    training: TrialRecord
    confirmed: SplitFigures | None = None


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """A folded journal: the run's start, its trials in the order asked, and the points that became no trial.

    The finals are apart from the trials, and nothing that counts or ranks trials counts them. Some values are needed at
    each event or twice a second, so they are updated, not recomputed: the `unfinished` trials, the epochs after
    which some of these are `paused`, the number of trials per outcome, and the ranking of the completed ones.
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
    finals: dict[str, Final] = field(default_factory=dict)
    ended: RunEnded | None = None
    _ranking: list[TrialRecord] = field(default_factory=list)

    def completed(self) -> list[TrialRecord]:
        """Completed trials, best validation log loss first; of equal ones, the earlier trial first."""
        return list(self._ranking)

    def ranked(self) -> list[tuple[int | None, TrialRecord]]:
        """All trials with their ranks: the completed ones as `completed`, then the others, which have no rank.

        The others are ordered by epochs trained (most first) and by their last log loss.
        """
        others = [trial for trial in self.trials.values() if not trial.ended or trial.ended.outcome != "completed"]
        others.sort(key=lambda trial: (-max(trial.epochs, default=0), _last_log_loss(trial), trial.asked.trial))
        return [*enumerate(self._ranking, start=1), *((None, trial) for trial in others)]

    def training(self, name: str) -> TrialRecord:
        """The record of a trial, or of the training of a final.

        Raises:
            InputError: there is neither.
        """
        if (final := self.finals.get(name)) is not None:
            return final.training
        if name not in self.trials:
            raise InputError(
                f"the journal never asked for trial {name}: restore the file from a copy, or start a new run"
            )
        return self.trials[name]

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
        """Record the end of a trial or a final; a second end is ignored."""
        if trial.ended is not None:
            return
        trial.ended = ended
        if ended.trial in self.finals:
            return
        del self.unfinished[trial.asked.trial]
        self.paused.pop(trial.asked.trial, None)
        self.outcomes[ended.outcome] += 1
        if ended.outcome == "completed":
            insort(self._ranking, trial, key=_rank)


def _last_log_loss(trial: TrialRecord) -> float:
    return trial.epochs[max(trial.epochs)].valid_log_loss if trial.epochs else float("inf")


def _rank(trial: TrialRecord) -> tuple[float, int]:
    assert trial.ended is not None and trial.ended.log_loss is not None, "a completed trial has a log loss"
    return trial.ended.log_loss, trial.number


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
        case FinalistsChosen() as chosen:
            record.finalists = chosen
        case FinalAsked() as final:
            record.finals[final.final] = _final(record, final, entry.time_s)
        case FinalConfirmed() as confirmed:
            record.confirm(confirmed)
        case RunResumed() as resumed:
            record.resumed.append(resumed)
            record.ended = None
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


def _final(record: RunRecord, final: FinalAsked, time_s: float) -> Final:
    """A new final; its network, and so its predicted size, is that of its trial."""
    trial = record.training(final.trial)
    asked = dataclasses.replace(
        trial.asked, trial=final.final, title=final.title, point=None, config=final.config, reference=False
    )
    training = TrialRecord(asked=asked, asked_at_s=time_s, number=trial.number)
    return Final(trial=final.trial, seed=final.seed, training=training)
