"""Ends a search, also one that is cut short: leaderboard files, the best network under `best/`, the report page."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from asc.config.space import Space
from asc.console import cli
from asc.errors import InputError
from asc.model_file.tensors import write_bytes
from asc.runs.bucket import Bucket, patiently
from asc.runs.events import RunEnded
from asc.runs.finals import finals_of
from asc.runs.folder import publish
from asc.runs.storage import run_bucket
from asc.search.budget_table import best_within
from asc.search.cluster.study import Ending
from asc.search.conductor import Conductor
from asc.search.front_table import front_of
from asc.search.leaderboard import leaderboard, write
from asc.search.next_commands import then_resume
from asc.search.plan import SearchPlan
from asc.search.result_page import PageOf, with_page
from asc.search.settings import resume_command, settings_of
from asc.search.summary import Summary
from asc.size.rules import Rule

_OUTAGE_S = 120.0


def finish(conductor: Conductor, space: Space, ending: Ending, rule: Rule, page_of: PageOf | None = None) -> Summary:
    """Write the leaderboard (bytes as `rule` counts them), the best network and the report page, then journal the end.

    A disk without space for the page takes nothing else from the search: the summary says so.

    Raises:
        InputError: the best trial's model file is missing, damaged, or in a bucket that cannot be reached. The end of
            the run is journalled first.
    """
    record, folder = conductor.record, conductor.journal.path.parent
    conductor.sweep()
    rows = leaderboard(record, space, rule)
    write(rows, folder)
    completed, settings = record.completed(), settings_of(record)
    summary = Summary(
        ending=ending,
        folder=folder,
        rule=rule,
        rows=rows,
        trials=tuple(record.trials.values()),
        best=completed[0] if completed else None,
        reference=next((trial for trial in record.trials.values() if trial.asked.reference), None),
        finals=finals_of(record),
        within=best_within(record, rule, settings),
        front=front_of(record, settings.aims, rule),
    )
    saved = summary.saved
    if saved is not None and saved.ended is not None and saved.ended.model is not None:
        try:
            _publish(folder, saved.ended.model)
            for one in summary.within:
                if one.trial is not None and one.trial.ended is not None and one.trial.ended.model is not None:
                    publish(folder, folder / one.trial.ended.model, budget_kb=one.budget_kb)
        except InputError as error:
            conductor.journal.append(RunEnded(outcome="interrupted", best=None))
            what = conductor.problem or str(error)
            raise InputError(then_resume(what, folder)) from error
    ended = RunEnded(
        outcome="finished" if ending == "finished" else "interrupted", best=saved.asked.trial if saved else None
    )
    return replace(summary, page=with_page(conductor.journal, ended, page_of))


@contextlib.contextmanager
def rescued(
    conductor: Conductor, plan: SearchPlan, say: Callable[[str], None], page_of: PageOf | None = None
) -> Iterator[None]:
    """If an exception ends the search early, write the results so far and say how to resume; then raise it again.

    The message appears even if the disk is full.
    """
    try:
        yield
    except BaseException:
        if conductor.record.ended is None:
            _rescue(conductor, plan, say, page_of)
        raise


def cut_off(conductor: Conductor, shown: contextlib.ExitStack, run: contextlib.ExitStack) -> NoReturn:
    """Close the contexts of the run, then end this process, from a thread, because dead Ray blocks the main thread.

    Without a problem, this process was asked to end, and Ray with it.
    """
    shown.close()
    code = cli.FAILED
    try:
        with run:
            if conductor.problem is None:
                raise KeyboardInterrupt
            raise InputError(then_resume(conductor.problem, conductor.journal.path.parent))
    except KeyboardInterrupt:
        code = cli.INTERRUPTED
    except InputError as error:
        code = cli.complain(str(error))
    except Exception:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def _rescue(conductor: Conductor, plan: SearchPlan, say: Callable[[str], None], page_of: PageOf | None) -> None:
    folder = conductor.journal.path.parent
    lies = f"the results so far are in {folder}"
    try:
        summary = finish(conductor, plan.space, "interrupted", plan.budget.rule, page_of)
        lies += f": {', '.join(summary.files())}"
    except (OSError, InputError) as error:
        lies += f", without a leaderboard ({error.strerror if isinstance(error, OSError) else error})"
    say(f"{lies}; resume with: {resume_command(folder)}")


def _publish(folder: Path, model: str) -> None:
    if (bucket := run_bucket(folder)) is not None:
        _fetch(bucket, model, folder)
    publish(folder, folder / model)


def _fetch(bucket: Bucket, model: str, folder: Path) -> None:
    data = patiently(lambda: bucket.get(model), limit_s=_OUTAGE_S)
    if data is not None:
        write_bytes(folder / model, data)
