"""The description of a run on MLflow's page, in Markdown: progress, best trials, commands to continue, space."""

from collections import Counter
from pathlib import Path

from asc.errors import counted
from asc.launchers import command
from asc.runs.finals import Standing, finals_of
from asc.runs.record import RunRecord, TrialRecord
from asc.runs.storage import storage_option

# MLflow keeps 8,000 characters of a tag; servers before 3.0 kept 5,000.
_SPACE_CHARACTERS = 3000


def note(record: RunRecord, run_folder: Path) -> str:
    """The text for a run as its journal stands; paths are absolute only if `run_folder` is."""
    parts = [
        *(_progress(record), _best(record), _finals(record)),
        *(_commands(record, run_folder), _space(record.started.space)),
    ]
    return "\n\n".join(part for part in parts if part)


def _progress(record: RunRecord) -> str:
    if record.started.kind == "train":
        return f"One training, `{record.started.name}`."
    outcomes: Counter[str] = Counter(record.outcomes)
    outcomes["paused"] = len(record.paused)
    outcomes["unfinished"] = len(record.unfinished) - len(record.paused)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common() if count)
    refused = f"; {counted(len(record.refused), 'point')} refused" if record.refused else ""
    return f"A search, `{record.started.name}`. {counted(len(record.trials), 'trial')}" + (
        f": {counts}{refused}." if counts else "."
    )


def _best(record: RunRecord) -> str:
    completed = record.completed()
    if not completed:
        return "No trial is complete yet."
    return "\n".join(
        [
            "| best | log loss | accuracy | bytes | MMAC/s |",
            "|---|---|---|---|---|",
            *(_row(trial, final=_final(record)) for trial in completed[:3]),
        ]
    )


def _row(trial: TrialRecord, *, final: bool) -> str:
    assert trial.ended is not None, "only completed trials are ranked"
    log_loss, accuracy = trial.ended.log_loss, trial.ended.accuracy
    mark = (" (optimistic)" if trial.ended.optimistic else "") + (" (clips that were trained on)" if final else "")
    return (
        f"| {trial.asked.title}{mark} | {'' if log_loss is None else f'{log_loss:.3f}'} "
        f"| {'' if accuracy is None else f'{accuracy:.1%}'} "
        f"| {trial.asked.nonzero_bytes:,} | {trial.asked.macs_per_second / 1e6:.1f} |"
    )


def _finals(record: RunRecord) -> str:
    """The finalists, best first, once one of their finals is trained."""
    finals = finals_of(record)
    standings = [] if finals is None else [one for one in finals.standings if one.finals]
    if finals is None or not standings:
        return ""
    return "\n".join(
        [
            f"| finalist{'' if finals.complete else ' (not all are trained yet)'} | search | confirmation | curse |",
            "|---|---|---|---|",
            *map(_finalist, standings),
        ]
    )


def _finalist(standing: Standing) -> str:
    assert standing.log_loss is not None and standing.curse is not None, "one of its finals is trained"
    return (
        f"| {standing.trial.asked.title} | {standing.search_log_loss:.3f} | {standing.log_loss:.3f} "
        f"| {standing.curse:+.3f} |"
    )


def _commands(record: RunRecord, run_folder: Path) -> str:
    lines = [f"python launch/{record.started.kind}.py --resume {record.started.name}{storage_option(run_folder)}"]
    judged = record.completed() and not _final(record)
    if judged:
        lines.append(f"{command('evaluate')} {run_folder / 'best' / 'model.safetensors'} --split test")
    return "\n".join(["Go on, then test the best:" if judged else "Go on:", "```", *lines, "```"])


def _final(record: RunRecord) -> bool:
    """Whether every clip was trained on, so that no clips are left to judge the network."""
    return record.started.settings.get("part") == "all"


def _space(space: str | None) -> str:
    if not space:
        return ""
    cut = "" if len(space) <= _SPACE_CHARACTERS else "\n# ... cut here; the journal has the whole text"
    return "\n".join(["What is searched:", "```toml", space[:_SPACE_CHARACTERS].strip() + cut, "```"])
