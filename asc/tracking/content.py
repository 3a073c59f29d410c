"""Turns each event of a journal into updates of MLflow runs.

This module is pure: the same journal always gives the same updates, so sending one again changes nothing. A search
becomes one parent run with a nested run per trial, final and larger teacher: the tag `asc.kind` tells these apart, and
a final has metrics of its own, `confirmation_log_loss` and `confirmation_accuracy`. A training becomes one run, which
also takes the updates of its only trial.

What does not change while a network is trained is a param. The metrics are the final figures and, under `epoch/`, the
few curves: MLflow draws such a group above the others.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from asc.runs.events import (
    EpochDone,
    FinalAsked,
    FinalConfirmed,
    FinalistsChosen,
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
from asc.runs.finals import finals_of
from asc.runs.journal import Entry
from asc.runs.record import RunRecord, TrialRecord
from asc.tracking.note import note
from asc.tracking.update import (
    CURVES,
    RUN_TAG,
    SEARCH_TAG,
    TRIAL_TAG,
    Figure,
    Head,
    Status,
    Update,
    figures,
    milliseconds,
    texts,
)


def run_key(record: RunRecord) -> str:
    """A permanent key of a run: its name and start time, in characters that need no quoting in a filter."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', record.started.name)}-{milliseconds(record.started_at_s)}"


def updates(record: RunRecord, entry: Entry, run_folder: Path) -> Iterator[Update]:
    """The updates of one event; `record` is the journal folded up to and including that event."""
    time_ms = milliseconds(entry.time_s)
    match entry.event:
        case RunStarted() as started:
            tags = {"outcome": "running", "mlflow.note.content": note(record, run_folder)}
            if started.settings.get("part") == "all":
                tags["final_model"] = (
                    "trained on every clip: its validation figures are of clips that it was trained on"
                )
            yield Update(
                head=_run_head(record), time_ms=time_ms, params=texts(started.settings), tags=tags, status="RUNNING"
            )
        case RunResumed() as resumed:
            yield from _resumed(record, resumed, time_ms)
        case TrialAsked() as asked:
            yield _asked(record, asked, time_ms)
        case FinalistsChosen() | TeacherAsked() | SoftLabelsMade() | FinalAsked() | FinalConfirmed() as event:
            yield _of_finals(record, event, time_ms)
        case EpochDone() | TrialRetried() | RungReached() | TrialPromoted() as event:
            yield _of_training(record, event, time_ms)
        case TrialEnded() as ended:
            yield from _ended(record, ended, time_ms, run_folder)
        case RunEnded() as run_ended:
            yield from _run_ended(record, run_ended, time_ms, run_folder)


def _asked(record: RunRecord, asked: TrialAsked, time_ms: int) -> Update:
    config = texts(asked.config)
    sampled = texts(asked.point or {})
    differing = {f"sampled.{key}": value for key, value in sampled.items() if config.get(key) != value}
    settings = texts(record.started.settings) if record.started.kind == "train" else {}
    # A training's settings and config share one run, and a param there can never change its value.
    own = {f"config.{k}" if settings.get(k, v) != v else k: v for k, v in config.items()}
    counted = {
        "bytes": asked.size_bytes,
        "nonzero_bytes": asked.nonzero_bytes,
        "file_bytes": asked.file_bytes,
        "macs_per_second": asked.macs_per_second,
        "peak_activation_bytes": asked.peak_activation_bytes,
        "parameters": asked.parameters,
    }
    return Update(
        head=_trial_head(record, record.training(asked.trial)),
        time_ms=time_ms,
        params={**own, **differing, **texts({key: value for key, value in counted.items() if value is not None})},
        tags={
            "repaired": json.dumps(asked.repaired),
            **({} if asked.budget_kb is None else {"budget_kb": f"{asked.budget_kb:g}"}),
            **({} if asked.earlier is None else {"earlier": asked.earlier}),
        },
        status="RUNNING",
    )


def _of_finals(
    record: RunRecord,
    event: FinalistsChosen | TeacherAsked | SoftLabelsMade | FinalAsked | FinalConfirmed,
    time_ms: int,
) -> Update:
    match event:
        case TeacherAsked():
            return _asked(record, record.training(event.teacher).asked, time_ms)
        case SoftLabelsMade():
            return Update(head=_run_head(record), time_ms=time_ms, tags=_teachers(event))
        case FinalistsChosen():
            return Update(head=_run_head(record), time_ms=time_ms, tags={"finalists": ", ".join(event.trials)})
        case FinalAsked():
            update = _asked(record, record.training(event.final).asked, time_ms)
            made = record.soft_labels if event.soft_labels is not None else None
            return update if made is None else replace(update, tags={**update.tags, **_teachers(made)})
        case FinalConfirmed():
            found = {"log_loss": event.figures.log_loss, "accuracy": event.figures.accuracy}
            return Update(
                head=_trial_head(record, record.finals[event.final].training),
                time_ms=time_ms,
                figures=figures({f"confirmation_{key}": value for key, value in found.items()}, 0),
            )


def _teachers(made: SoftLabelsMade) -> dict[str, str]:
    return {"teachers": ", ".join(map(str, made.teachers)), "soft_labels": made.digest}


def _epoch_figures(done: EpochDone) -> tuple[Figure, ...]:
    metrics = done.metrics
    values = {
        "train_loss": metrics.train_loss,
        "valid_log_loss": metrics.valid_log_loss,
        "valid_accuracy": metrics.valid_accuracy,
        "learning_rate": metrics.learning_rate,
    }
    return figures({f"{CURVES}/{key}": value for key, value in values.items()}, metrics.epoch)


def _of_training(
    record: RunRecord, event: EpochDone | TrialRetried | RungReached | TrialPromoted, time_ms: int
) -> Update:
    """What an event within the training of a trial or a final changes."""
    trial = record.training(event.trial)
    update = Update(head=_trial_head(record, trial), time_ms=time_ms)
    match event:
        case EpochDone():
            return replace(update, figures=_epoch_figures(event))
        case TrialRetried():
            return replace(update, tags={"retries": str(len(trial.retries)), "last_retry": event.reason})
        case RungReached(paused=True):
            return replace(update, tags={"outcome": "paused"}, status="SCHEDULED")
        case RungReached():
            return update
        case TrialPromoted():
            return replace(update, tags={"outcome": "running"}, status="RUNNING")


def _ended(record: RunRecord, ended: TrialEnded, time_ms: int, run_folder: Path) -> Iterator[Update]:
    head = _trial_head(record, record.training(ended.trial))
    yield Update(
        head=head,
        time_ms=time_ms,
        # The duration on the page is that of the training, without the time that the trial waited or was paused.
        end_ms=head.start_ms + milliseconds(ended.seconds) if record.started.kind == "search" else None,
        params={"epochs": str(ended.epochs)},
        # MLflow draws metrics that have only step 0 as bars, which compare trials.
        figures=figures({"log_loss": ended.log_loss, "accuracy": ended.accuracy}, 0),
        tags=_ended_tags(ended),
        status=_trial_status(ended),
    )
    if record.started.kind == "search" and ended.trial in record.trials:
        yield _progress(record, time_ms, run_folder)


def _ended_tags(ended: TrialEnded) -> dict[str, str]:
    tags: dict[str, str] = {"outcome": ended.outcome}
    if ended.reason:
        tags["reason"] = ended.reason
    if ended.calibrated is not None:
        tags["calibrated"] = json.dumps(ended.calibrated)
    if ended.optimistic:
        tags["optimistic"] = "calibrated on the test fold: its figures there flatter it"
    return tags


def _progress(record: RunRecord, time_ms: int, run_folder: Path) -> Update:
    done = len(record.trials) - len(record.unfinished)
    best = next((trial.ended for trial in record.completed()), None)
    values = {"best_log_loss": best.log_loss, "best_accuracy": best.accuracy} if best else {}
    return Update(
        head=_run_head(record),
        time_ms=time_ms,
        figures=figures(values, done),
        tags={"mlflow.note.content": note(record, run_folder)},
    )


def _resumed(record: RunRecord, resumed: RunResumed, time_ms: int) -> Iterator[Update]:
    yield Update(
        head=_run_head(record),
        time_ms=time_ms,
        params={f"resumed.{len(record.resumed)}.{k}": v for k, v in texts(resumed.settings).items()},
        tags={"outcome": "running"},
        status="RUNNING",
    )
    yield from _unfinished(record, "RUNNING", time_ms, paused="SCHEDULED")


def _run_ended(record: RunRecord, ended: RunEnded, time_ms: int, run_folder: Path) -> Iterator[Update]:
    yield from _unfinished(record, "KILLED", time_ms, paused="KILLED")
    status: Status = "FINISHED" if ended.outcome == "finished" else "KILLED"
    outcome: str = ended.outcome
    trial = next((t.ended for t in record.trials.values() if t.ended), None)
    if record.started.kind == "train" and trial is not None:
        status, outcome = _trial_status(trial), trial.outcome
    yield Update(
        head=_run_head(record),
        time_ms=time_ms,
        figures=_winner(record),
        tags={"outcome": outcome, "mlflow.note.content": note(record, run_folder)},
        status=status,
        with_files=ended.best is not None or record.started.kind == "search",
    )


def _winner(record: RunRecord) -> tuple[Figure, ...]:
    """The figures of the finalist that won, for the run of the whole search."""
    finals = finals_of(record)
    if finals is None or finals.winner is None:
        return ()
    return figures({"confirmation_log_loss": finals.winner.log_loss, "winners_curse": finals.winner.curse}, 0)


def _unfinished(record: RunRecord, status: Status, time_ms: int, *, paused: Status) -> Iterator[Update]:
    others = [training for training in record.after_trials() if training.ended is None]
    for trial in (*record.unfinished.values(), *others):
        if record.started.kind == "search":
            now = paused if trial.state == "paused" else status
            yield Update(head=_trial_head(record, trial), time_ms=time_ms, status=now)


def _trial_status(ended: TrialEnded) -> Status:
    return "FINISHED" if ended.outcome in ("completed", "stopped") else "FAILED"


def _run_head(record: RunRecord) -> Head:
    started = record.started
    return Head(
        trial=None,
        name=started.name,
        start_ms=milliseconds(record.started_at_s),
        tags={**_shared_tags(record), "asc.kind": started.kind},
    )


def _trial_head(record: RunRecord, trial: TrialRecord) -> Head:
    if record.started.kind == "train":
        return _run_head(record)
    final = record.finals.get(trial.asked.trial)
    kind = {"asc.kind": "trial"} if final is None else {"asc.kind": "final", "asc.final_of": final.trial}
    if trial.asked.trial in record.teachers:
        kind = {"asc.kind": "teacher"}
    return Head(
        trial=trial.asked.trial,
        name=trial.asked.title,
        start_ms=milliseconds(trial.asked_at_s),
        tags={**_shared_tags(record), **kind, TRIAL_TAG: trial.asked.trial},
    )


def _shared_tags(record: RunRecord) -> dict[str, str]:
    commit = record.started.git_commit
    source = {"mlflow.source.name": f"launch/{record.started.kind}.py", "mlflow.source.type": "LOCAL"}
    commits = {"git_commit": commit, "mlflow.source.git.commit": commit} if commit else {}
    search = {SEARCH_TAG: record.started.name} if record.started.kind == "search" else {}
    return {RUN_TAG: run_key(record), **search, **source, **commits}
