"""Opens a search: a new one from its options, a resumed one from its journal."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from asc.config.experiment import Experiment
from asc.config.space import Space
from asc.config.space_file import load_space, parse_space
from asc.errors import InputError, require
from asc.launchers import command
from asc.run_files import JOURNAL
from asc.runs.events import EarlierPoint, RunResumed, RunStarted
from asc.runs.finals import finals_of
from asc.runs.folder import git_commit, new_run_folder, run_folder
from asc.runs.journal import Journal
from asc.runs.record import RunRecord, fold
from asc.runs.storage import is_remote, run_bucket
from asc.search import final
from asc.search.options import SearchOptions
from asc.search.plan import SearchPlan
from asc.search.settings import (
    RESUMABLE,
    RESUMABLE_BEFORE_FINALS,
    RESUMABLE_BEFORE_TEACHERS,
    SearchSettings,
    settings_from,
    settings_of,
)
from asc.typed import Scalar


def resumed_settings(record: RunRecord, given: Mapping[str, Scalar]) -> SearchSettings:
    """The settings of a resumed search; `given` holds the options of this command line.

    Raises:
        InputError: the run is not a search, or an option is given that cannot change on resume.
    """
    if record.started.kind != "search":
        raise InputError(f"{record.started.name} is a training, not a search: resume it with {command('train')}")
    before = settings_of(record)
    taught = record.finals or record.teachers or record.soft_labels is not None
    may_change = (
        *RESUMABLE,
        *(() if record.finals or record.teachers else RESUMABLE_BEFORE_FINALS),
        *(() if taught else RESUMABLE_BEFORE_TEACHERS),
    )
    for key, value in given.items():
        if key not in may_change and getattr(before, key) != value:
            allowed = ", ".join(f"--{name.replace('_', '-')}" for name in may_change)
            was = getattr(before, key)
            raise InputError(
                f"--{key.replace('_', '-')} {'was not given' if was is None else f'is {was}'} in {record.started.name} "
                f"and cannot change on --resume: leave it out (these can change: {allowed})"
            )
    require(
        before.final_top == 0 or given.get("final_top") != 0,
        f"--final-top is {before.final_top} in {record.started.name} and cannot be 0 on --resume: leave it out",
    )
    now = final.filled(settings_from(before.scalars(), given))
    if before.final_top == 0 < now.final_top:
        final.check_added(now, record, resumed_space(record))
    return now


def resumed_space(record: RunRecord) -> Space:
    """The space that the search was started with, read from its journal."""
    name, _, text = (record.started.space or "").partition("\n")
    return parse_space(text, source=f"the journal of {record.started.name}", name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a search starts from.

    `journal` is None for a new search, which creates it only after all checks. `ended` counts the trials, and
    `ended_finals` the finals, that had ended before a resume.
    """

    settings: SearchSettings
    space: Space
    reference: Experiment | None = None
    journal: Journal | None = None
    ended: int = 0
    ended_finals: int = 0


def opened(options: SearchOptions) -> Opening:
    """The settings and the space of a command line; with --resume they come from the journal.

    Raises:
        InputError: one of them is wrong, or the run to resume does not exist.
    """
    if options.resume is None:
        space = load_space(options.space or "quick")
        settings = final.filled(options.settings(space.rule))
        require(
            settings.budgets_kb is None or not is_remote(options.storage),
            f"--storage {options.storage} is a bucket, which holds one best network of a run: give one --budget-kb, or "
            "a folder as --storage",
        )
        _check_teaching(settings, options.storage if is_remote(options.storage) else None)
        return Opening(settings=settings, space=space)
    for name in ("space", "name"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} cannot change on --resume {options.resume}: leave it out")
    journal = Journal(run_folder(options.storage, options.resume) / JOURNAL)
    with released(journal):
        return _resumed(journal, options)


def _resumed(journal: Journal, options: SearchOptions) -> Opening:
    record = fold(journal.entries)
    reference, finals = record.started.reference, finals_of(record)
    settings = resumed_settings(record, options.given())
    _check_teaching(settings, run_bucket(journal.path.parent))
    return Opening(
        settings=settings,
        space=resumed_space(record),
        reference=None if reference is None else Experiment.from_flat(reference),
        journal=journal,
        ended=sum(trial.ended is not None for trial in record.trials.values()),
        ended_finals=0 if finals is None else len(finals.ended),
    )


@contextlib.contextmanager
def released(journal: Journal | None) -> Iterator[None]:
    """Close a journal if the block fails, so that this process, such as a notebook's, can resume the search again."""
    try:
        yield
    except BaseException:
        if journal is not None:
            journal.close()
        raise


def _check_teaching(settings: SearchSettings, bucket: object) -> None:
    """Check that workers will find the soft labels: they lie in the run's folder, and in no bucket."""
    taught = settings.distil or settings.teacher_logits is not None
    require(
        not taught or bucket is None,
        f"--storage {bucket} is a bucket, where finals would not find the soft labels of their teachers: leave "
        "--distil and --teacher-logits out, or give a folder as --storage",
    )


def _given(options: SearchOptions, settings: SearchSettings) -> dict[str, Scalar]:
    """The options of a resumption; with a new --final-top, also the schedule that the recipe gives the finals."""
    given = options.given()
    if not any(key.startswith("final_") for key in given):
        return given
    return {**given, **{key: value for key, value in settings.scalars().items() if key.startswith("final_")}}


def begun(
    opening: Opening, options: SearchOptions, plan: SearchPlan, earlier: tuple[EarlierPoint, ...] = ()
) -> Journal:
    """The journal of a search, with its start or its resume written to it; a new one tries the `earlier` points first.

    Raises:
        InputError: the name is taken, or the data differ from those that the search began with.
    """
    digest = plan.manifest.digest
    if opening.journal is not None:
        before = fold(opening.journal.entries).started.data_digest
        if before != digest:
            raise InputError(
                f"{plan.settings.data} is not what {options.resume} began with (files, labels or splits differ): put "
                "the data back as they were, or start a new search"
            )
        opening.journal.append(RunResumed(settings=_given(options, opening.settings)))
        return opening.journal
    journal = Journal(new_run_folder(options.storage, options.run_name()) / JOURNAL)
    with released(journal):
        journal.append(
            RunStarted(
                name=journal.path.parent.name,
                kind="search",
                settings=opening.settings.scalars(),
                git_commit=git_commit(),
                space=f"{opening.space.name}\n{opening.space.text}",
                data_digest=digest,
                reference=plan.base.flat(),
                earlier=earlier,
            )
        )
    return journal
