"""A search from its options to its results, for launch/search.py and for `asc.search`.

Ray reads its environment when it is imported, so what imports it is imported only within `searched`.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from asc.config import data_guess
from asc.console.cli import Output
from asc.console.evaluate_options import EvaluateOptions
from asc.console.progress import packing
from asc.data.dataset import default_cache
from asc.errors import InputError, counted, machine_fault, require
from asc.model_file.teacher_logits import TeacherLogits
from asc.run_files import BEST_FOLDER, MODEL_FILE
from asc.runs.events import RunEnded
from asc.runs.journal import Entry
from asc.runs.record import fold
from asc.runs.storage import runs_folder
from asc.search import disk, duration, opening, plan_text, soft_labels, warm_start
from asc.search.cluster import environment
from asc.search.options import SearchOptions
from asc.search.plan import SearchPlan, pack, plan_search
from asc.search.settings import SearchSettings
from asc.tracking.address import check_uri

if TYPE_CHECKING:
    from asc.search.summary import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A search that passed every check. Nothing was written for it, and no audio packed.

    `teacher` has the logits of `--teacher-logits`, unless the run has them already.
    """

    opened: opening.Opening
    plan: SearchPlan
    wanted: disk.Need
    cache: Path
    warm: warm_start.WarmStart
    teacher: TeacherLogits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """A search that has ended: its results, why it was halted (if it was), and reasons to doubt its best network.

    `browse` is the command to look at its trials in MLflow.
    """

    summary: "Summary"
    settings: SearchSettings
    problem: str | None
    doubts: list[str]
    browse: str


def prepared(options: SearchOptions, output: Output) -> Prepared:
    """Check everything that can be checked before audio is packed or Ray starts, and print what the search will do.

    Raises:
        InputError: something is wrong.
    """
    opened = opening.opened(options)
    with opening.released(opened.journal):
        return _checked(opened, options, output)


def _checked(opened: opening.Opening, options: SearchOptions, output: Output) -> Prepared:
    settings = opened.settings
    check_uri(settings.mlflow_uri)
    settings.check_address()
    settings.check_machine(options.given())
    plan = plan_search(settings, opened.space, opened.reference)
    outside = _outside_teacher(opened, plan)
    cache = (options.cache or default_cache()).resolve()
    wanted = disk.need(plan, cache, ended=opened.ended, ended_finals=opened.ended_finals)
    disk.check_room(wanted, cache=cache, storage=runs_folder(options.storage))
    warm = warm_start.WarmStart()
    if opened.journal is None:  # else the journal has the points
        warm = warm_start.warm_start(plan, options.storage, name=options.run_name())
    output.result(plan_text.describe(plan))
    output.notes([*data_guess.note(options.data), *plan.manifest.warnings])
    output.result(disk.describe(wanted, plan, cache=cache, storage=options.storage))
    if wanted.rates_to_pack:
        output.result(duration.packing(plan, wanted.rates_to_pack))
    output.notes(warm.notes)
    return Prepared(opened=opened, plan=plan, wanted=wanted, cache=cache, warm=warm, teacher=outside)


def _outside_teacher(opened: opening.Opening, plan: SearchPlan) -> TeacherLogits | None:
    """The logits of `--teacher-logits`, until the run has a copy of them.

    Raises:
        InputError: the file is wrong.
    """
    path, journal = opened.settings.teacher_logits, opened.journal
    if path is None or (journal is not None and fold(journal.entries).soft_labels is not None):
        return None
    return soft_labels.checked(Path(path), plan.manifest)


def check_process(*, local: bool) -> None:
    """Check that a search can run in this process, which may be a notebook's; `local`: Ray runs on this machine alone.

    Raises:
        InputError: this is not the main thread, which signals go to, or Ray was imported or started by something else.
    """
    require(
        threading.current_thread() is threading.main_thread(),
        "a search must run in the main thread, which gets Ctrl-C: call it there, or start launch/search.py",
    )
    ray = sys.modules.get("ray")
    require(
        ray is None or environment.is_prepared(local=local),
        "Ray was imported in this process before asc could set its environment: call the search in a new process",
    )
    require(ray is None or not ray.is_initialized(), "Ray already runs in this process: call ray.shutdown() first")


def searched(ready: Prepared, options: SearchOptions, output: Output) -> Searched:
    """Pack the audio, run the trials, and write the results: leaderboard, best network, report page.

    Raises:
        InputError: the audio cannot be used, Ray does not start, or the disk is full.
    """
    with opening.released(ready.opened.journal):
        return _searched(ready, options, output)


def _searched(ready: Prepared, options: SearchOptions, output: Output) -> Searched:
    settings, plan = ready.opened.settings, ready.plan
    with packing(output.progress) as bar:
        data, notes = pack(plan, ready.cache, bar)
    output.notes(notes)

    expected_s = mean(duration.minutes(plan)) * 60 if output.progress.is_terminal else None

    environment.prepare(local=settings.local)
    from asc.report.page import doubts
    from asc.runs.mirror import mirrored
    from asc.search import conductor, finish, live
    from asc.search.cluster import cluster, distilled
    from asc.tracking.session import browse, tracked

    with ExitStack() as ray, ExitStack() as run, ExitStack() as shown:
        ray.enter_context(cluster.joined(settings, output.alert))  # first: if it fails, no run is left behind
        journal = opening.begun(ready.opened, options, plan, ready.warm.points)
        run.callback(journal.close)  # so that this process may go on with the search
        if ready.teacher is not None:
            soft_labels.adopt(journal, ready.teacher, plan.manifest)
        lead = conductor.Conductor(
            journal=journal, space=plan.space, settings=settings, base=plan.base, budget=plan.budget
        )
        page_of = partial(_evaluated_page, cache=ready.cache, say=output.alert)
        run.enter_context(finish.rescued(lead, plan, output.alert, page_of))
        trials = counted(settings.trials, "trial")
        output.say(f"searching {journal.path.parent}: {trials}, {settings.max_concurrent} at a time")
        run.enter_context(tracked(journal, settings.mlflow_uri, output.alert))
        run.enter_context(mirrored(journal, output.alert, on_taken_over=lead.halt))
        view = shown.enter_context(
            live.LiveView(output.progress, lead.record, settings, plan.budget.rule, expected_s=expected_s)
        )
        journal.listeners += [view.heard, *([view.epoch_heard] if options.verbose else [])]
        on_stuck = partial(finish.cut_off, lead, shown, run)
        ending = distilled.run(
            lead, settings, data, ready.cache, rule=plan.budget.rule, say=output.alert, on_stuck=on_stuck
        )
        shown.close()
        ray.close()  # Ray's processes must have ended before their leftovers are removed
        summary = finish.finish(lead, plan.space, ending, plan.budget.rule, page_of)
        doubtful = doubts(journal.entries, summary.folder)
        show(summary, settings, doubtful, output)
    return Searched(
        summary=summary,
        settings=settings,
        problem=lead.problem,
        doubts=doubtful,
        browse=browse(summary.folder, settings.mlflow_uri),
    )


def _evaluated_page(entries: Sequence[Entry], folder: Path, *, cache: Path, say: Callable[[str], None]) -> bytes:
    """The report page. If the search has finished, its best network is evaluated on validation clips first.

    The page shows its confusion matrix, its reliability, and the clips that it misclassifies. The audio is packed, so
    this takes as long as it takes at the end of a trial.
    """
    from asc.api.evaluating import evaluated
    from asc.report.page import search_page

    last, model = entries[-1].event, folder / BEST_FOLDER / MODEL_FILE
    if isinstance(last, RunEnded) and last.outcome == "finished" and last.best is not None:
        try:
            evaluated(EvaluateOptions(model=model, cache=cache), Output(as_json=True, quiet=True)).write()
        except Exception as error:
            why = str(error) if isinstance(error, InputError) else machine_fault(error)
            if why is None:
                raise
            say(f"the report page lacks the mistakes of the best network, which could not be evaluated: {why}")
    return search_page(entries, folder)


def show(summary: "Summary", settings: SearchSettings, doubtful: list[str], output: Output) -> None:
    """Print what the search has found: leaderboard, sizes, gain, finalists, and reasons for doubt."""
    from asc.console import tables
    from asc.search import budget_table, finalists, front_table, leaderboard

    output.result(leaderboard.table(summary.rows))
    if summary.best is not None:
        output.result(tables.size_table(summary.best_cost()))
        output.result(summary.demands())
    output.result(summary.gained())
    if summary.front:
        output.result(front_table.table(summary.front, settings.aims))
    if summary.within:
        output.result(budget_table.table(summary.within))
    if summary.finals is not None:
        output.result(finalists.table(summary.finals))
        output.result(finalists.sentence(summary.finals))
    for sentence in doubtful:
        output.result(f"doubt: {sentence}")
