"""Who teaches the finals of a search (`--distil`): its best networks, and larger ones that are trained for it alone.

A larger teacher (`--teacher-kb`) is the best trial with its widths scaled up together, by the scaling that repair uses
to make networks narrower. It has the schedule of the finals and, like each of them, one of their seeds. Nothing limits
its MACs or its memory. Once there are soft labels they stay, so that all finals of a search learn from the same ones.
"""

from collections.abc import Collection
from pathlib import Path

from asc.config.experiment import Experiment
from asc.errors import InputError, require
from asc.results import TeacherNetwork
from asc.runs.events import TeacherAsked
from asc.runs.record import RunRecord
from asc.search import final
from asc.search.repair import widened
from asc.search.settings import SearchSettings
from asc.size.law import cost
from asc.size.rules import Rule, counted_bytes, limit_bytes
from asc.topology.describe import short_name


def check(settings: SearchSettings, reference: Experiment, rule: Rule) -> None:
    """Check, on the reference, that networks of `--teacher-kb` exist and are larger than the budget allows.

    Raises:
        InputError: they do not, or are not.
    """
    if settings.teacher_kb is None:
        return
    try:
        stored = cost(widened(reference, rule, settings.teacher_kb)).stored
    except InputError as error:
        raise InputError(f"--teacher-kb {settings.teacher_kb:g} is too large for the reference: {error}") from error
    require(
        counted_bytes(rule, stored) > limit_bytes(rule, settings.budget_kb),
        f"--teacher-kb {settings.teacher_kb:g} leaves no room for a network wider than those of --budget-kb "
        f"{settings.budget_kb:g}: give more",
    )


def to_come(record: RunRecord, settings: SearchSettings, *, busy: Collection[str] = ()) -> str | None:
    """The name of the next larger teacher to train, begun or not, that has not ended and is not `busy`."""
    for name in _names(settings) if record.completed() else ():
        known = record.teachers.get(name)
        if name not in busy and (known is None or known.ended is None):
            return name
    return None


def _names(settings: SearchSettings) -> dict[str, int]:
    """The names of the larger teachers, with their seeds."""
    return {f"teacher-seed{seed}": seed for seed in final.seeds(settings)[: settings.teachers]}


def asked(record: RunRecord, name: str, settings: SearchSettings, rule: Rule) -> TeacherAsked:
    """A new teacher: the best trial as the ranking stands, widened to `--teacher-kb`, counted by the rule."""
    assert settings.teacher_kb is not None, "else there are no teachers to train"
    best, seed = record.completed()[0], _names(settings)[name]
    wide = widened(Experiment.from_flat(best.asked.config), rule, settings.teacher_kb)
    experiment = wide.updated(final.changes(settings, seed))
    size = cost(experiment)
    kilobytes = counted_bytes(rule, size.stored) / rule.unit_bytes
    return TeacherAsked(
        teacher=name,
        trial=best.asked.trial,
        title=f"{name} {short_name(experiment.architecture)} {kilobytes:.1f} KB",
        seed=seed,
        config=experiment.flat(),
        size=size.stored,
        macs_per_second=size.macs_per_second,
        peak_activation_bytes=size.peak_activation_bytes,
    )


def wanted(record: RunRecord, settings: SearchSettings, rule: Rule, run_folder: Path) -> dict[Path, TeacherNetwork]:
    """The model files of all teachers: the search's best networks, then the larger ones that were trained to their end.

    Their sizes are counted by the rule.
    """
    larger = [teacher for teacher in record.teachers.values() if teacher.ended and teacher.ended.model]
    found = {}
    for training in (*record.completed()[: settings.final_top], *larger):
        assert training.ended is not None and training.ended.model is not None, "they were trained to their end"
        kilobytes = counted_bytes(rule, training.asked.predicted) / rule.unit_bytes
        found[run_folder / training.ended.model] = TeacherNetwork(name=training.asked.trial, kilobytes=kilobytes)
    return found
