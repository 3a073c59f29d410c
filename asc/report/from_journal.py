"""Reads what the report page shows of a search from its journal."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from asc.config.space import FAMILY, Space
from asc.config.space_file import parse_space
from asc.errors import InputError
from asc.launchers import command
from asc.report.trials import Reached, Search, Trial
from asc.runs.events import EpochDone, TrialEnded
from asc.runs.finals import finals_of
from asc.runs.journal import Entry
from asc.runs.record import Final, RunRecord, TrialRecord, fold
from asc.size.rules import Rule, counted_bytes, limit_bytes, rule
from asc.typed import Scalar


def search_of(entries: Sequence[Entry]) -> Search:
    """Read a search from the entries of its journal.

    Raises:
        InputError: the journal is empty or contradicts itself, or the run is a training.
    """
    record = fold(entries)
    started = record.started
    if started.kind != "search":
        raise InputError(
            f"{started.name} is a training, not a search: look at it with {command('evaluate')} and in MLflow"
        )
    by = rule(str(started.settings.get("rule", "dcase2021")))
    space = _space(started.space, started.name)
    budget_kb = float(started.settings.get("budget_kb", 128.0))
    finals = {name: _final(record, final, space, by) for name, final in record.finals.items()}
    return Search(
        record=record,
        space=space,
        rule=by,
        limit_kb=limit_bytes(by, budget_kb) / by.unit_bytes,
        smaller_kb=tuple(limit_bytes(by, one) / by.unit_bytes for one in _smaller(started.settings, budget_kb)),
        most_mmacs_per_s=_most_mmacs(by, started.settings.get("max_mmacs_per_s")),
        trials=tuple(_trial(rank, trial, space, by) for rank, trial in record.ranked()),
        finals=tuple(finals.values()),
        teachers=tuple(_trial(None, teacher, space, by) for teacher in record.teachers.values()),
        shipped=_shipped(record, finals),
        reached=tuple(_reached(record, entries)),
        epochs=sum(isinstance(entry.event, EpochDone) and entry.event.trial in record.trials for entry in entries),
        last_time_s=entries[-1].time_s,
    )


def _space(text: str | None, name: str) -> Space | None:
    """The searched space; None if a journal has none, or one of an asc that knew other keys."""
    title, _, toml = (text or "").partition("\n")
    try:
        return parse_space(toml, source=f"the journal of {name}", name=title)
    except InputError:
        return None


def _smaller(settings: Mapping[str, Scalar], largest_kb: float) -> list[float]:
    """The budgets below the largest one, in KB."""
    every = str(settings.get("budgets_kb", largest_kb)).split(",")
    return [budget_kb for budget_kb in map(float, every) if budget_kb < largest_kb]


def _most_mmacs(by: Rule, given: Scalar | None) -> float | None:
    limits = [None if given is None else float(given)]
    limits.append(None if by.macs_per_second_limit is None else by.macs_per_second_limit / 1e6)
    return min((limit for limit in limits if limit is not None), default=None)


def _trial(rank: int | None, trial: TrialRecord, space: Space | None, by: Rule) -> Trial:
    asked, ended = trial.asked, trial.ended
    last = trial.epochs[max(trial.epochs)] if trial.epochs else None
    counted = counted_bytes(by, asked.predicted)
    stored = ended if ended is not None and ended.outcome == "completed" else None
    return Trial(
        name=asked.trial,
        rank=rank,
        outcome=trial.state,
        reference=asked.reference,
        repaired=asked.repaired,
        earlier=asked.earlier,
        log_loss=stored.log_loss if stored else (last.valid_log_loss if last else None),
        accuracy=stored.accuracy if stored else (last.valid_accuracy if last else None),
        log_loss_interval=stored.log_loss_interval if stored else None,
        accuracy_interval=stored.accuracy_interval if stored else None,
        counted_bytes=counted,
        kilobytes=counted / by.unit_bytes,
        file_bytes=asked.file_bytes,
        mmacs_per_s=asked.macs_per_second / 1e6,
        ram_kb=asked.peak_activation_bytes / 1024,
        epochs=last.epoch if last else 0,
        seconds=ended.seconds if ended else sum(metrics.seconds for metrics in trial.epochs.values()),
        reason=ended.reason if ended else None,
        model=ended.model if ended else None,
        values=_values(asked.config, asked.point, space),
        curve={epoch: metrics.valid_log_loss for epoch, metrics in sorted(trial.epochs.items())},
    )


def _final(record: RunRecord, final: Final, space: Space | None, by: Rule) -> Trial:
    """A final; its searched parameters are those of its trial."""
    point = record.training(final.trial).asked.point
    return _trial(None, replace(final.training, asked=replace(final.training.asked, point=point)), space, by)


def _shipped(record: RunRecord, finals: Mapping[str, Trial]) -> Trial | None:
    found = finals_of(record)
    return None if found is None or found.shipped is None else finals[found.shipped.training.asked.trial]


def _values(config: Mapping[str, Scalar], point: Mapping[str, Scalar] | None, space: Space | None) -> dict[str, Scalar]:
    """The searched parameters of a trial: as trained if its config has them, else as drawn; lists as JSON text."""
    keys = list(space.sampled) if space else list(point or {})
    if space and space.families and point is not None:
        keys = [key for key in keys if key in point or key == FAMILY]
    found: dict[str, Scalar] = {}
    for key in keys:
        if key in config:
            found[key] = config[key]
        elif items := [config[f"{key}.{n}"] for n in range(_length(config, key))]:
            found[key] = json.dumps(items)
        elif point is not None and key in point:
            found[key] = point[key]
    return found


def _length(config: Mapping[str, Scalar], key: str) -> int:
    """The number of items of a list in a flat config; 0 if the key is not a list."""
    length = 0
    while f"{key}.{length}" in config:
        length += 1
    return length


def _reached(record: RunRecord, entries: Sequence[Entry]) -> Iterator[Reached]:
    """Each new best log loss of a trial, with the epochs that all trials had trained by then."""
    epochs, best = 0, float("inf")
    for entry in entries:
        match entry.event:
            case EpochDone(trial=name) if name in record.trials:
                epochs += 1
            case TrialEnded(outcome="completed", log_loss=float(log_loss), trial=name) if name in record.trials:
                if log_loss < best:
                    best = log_loss
                    yield Reached(epochs=epochs, log_loss=log_loss, trial=name)
