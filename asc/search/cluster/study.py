"""Runs a search on Ray Tune, on the cluster that this process has joined, and returns how it ended.

Call `asc.search.cluster.environment.prepare` before this module is imported, because Ray reads its environment on
import. Call `run` within `asc.search.cluster.cluster.joined`.
"""

import contextlib
import logging
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from ray import tune
from ray.exceptions import RayError, RayTaskError

from asc.config.data_choice import DataChoice
from asc.errors import InputError, disk_is_full
from asc.run_files import RAY_FOLDER, SOFT_LABELS, TRIALS_FOLDER
from asc.runs.storage import run_bucket
from asc.search.cluster.cluster import watched
from asc.search.cluster.lost_workers import cost_one_trial
from asc.search.cluster.memory import Headroom, is_short_here
from asc.search.cluster.ray_adapters import ConductedScheduler, ConductedSearcher, EndOfSearch, FailureWatch
from asc.search.cluster.trial import TrialOrder, run_trial
from asc.search.conductor import Assignment, Conductor
from asc.search.final import confirmation_split
from asc.search.settings import SearchSettings, resume_command
from asc.search.trial_files import trial_folder

Ending = Literal["finished", "out of time", "interrupted", "halted"]


def run(
    conductor: Conductor,
    settings: SearchSettings,
    data: DataChoice,
    cache: Path,
    *,
    say: Callable[[str], None],
    on_stuck: Callable[[], None] | None = None,
    trial: Callable[[dict[str, Any]], None] | None = None,
) -> Ending:
    """Run trials until none is left, time is up, Ctrl-C is pressed, or the search is halted (`conductor.problem`).

    It is also finished if its finals wait for soft labels (`asc.search.cluster.distilled`).
    All results are in the journal. Workers find the packed audio in `cache` and run the function `trial`; by default it
    trains, in the trial's process or in a group of workers. `say` is called with a message when memory is short.
    `on_stuck` is called from another thread if Ray has died and blocks this one.

    Raises:
        InputError: the run's folder cannot be written or its disk is full; the journal stays intact.
    """
    interrupts, terminations = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    terminated = _noted(terminations)

    def lost(problem: str) -> None:  # of Ray or the machine
        if not terminated.is_set():
            conductor.halt(problem)

    end = EndOfSearch(conductor, None if settings.time_budget_min is None else settings.time_budget_min * 60)
    is_short = is_short_here if settings.local else lambda: False  # the memory of a cluster's nodes is not known here
    headroom = Headroom(settings.max_concurrent, say=say, is_short=is_short)
    try:
        with (
            _scratch(conductor.journal.path.parent.resolve()) as scratch,
            cost_one_trial(),
            watched(settings, lost, on_stuck),
        ):
            logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # we journal and show failures
            searcher = ConductedSearcher(conductor, _orders(conductor, settings, data, cache), headroom)
            watch = FailureWatch(conductor, headroom)
            scheduler = ConductedScheduler(conductor)
            _fit(settings, trial or _trial(settings), searcher, scheduler, watch, end, scratch)
    except KeyboardInterrupt:
        return "interrupted"
    except Exception as error:
        problem = _problem(conductor, error)
        if problem is None:
            raise
        lost(problem)
    finally:
        signal.signal(signal.SIGINT, interrupts)
        signal.signal(signal.SIGTERM, terminations)
    if conductor.problem is not None:
        return "halted"
    if conductor.complete or conductor.needs_soft_labels:
        return "finished"
    return "out of time" if end.passed else "interrupted"


def _noted(handler: Any) -> threading.Event:
    """Have SIGTERM noted in the event before `handler` is called.

    `timeout` and cluster schedulers send it to Ray's processes too, so Ray dies just when this process is asked to end.
    """
    noted = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        noted.set()
        if callable(handler):
            handler(number, frame)

    if callable(handler):  # otherwise the signal ends this process at once
        signal.signal(signal.SIGTERM, note)
    return noted


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, the error that caused it, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _problem(conductor: Conductor, error: Exception) -> str | None:
    """What `_problem_of_the_machine` says of an error that ended Tune's loop.

    Raises:
        InputError: the run's folder cannot be written. Tune wraps what its callbacks raise, so this is the real reason.
    """
    if conductor.journal.failure is not None:
        raise _unwritable(conductor, conductor.journal.failure) from None
    for cause in _causes(error):
        if isinstance(cause, OSError) and disk_is_full(cause):
            raise _unwritable(conductor, cause) from None
    return _problem_of_the_machine(error)


def _problem_of_the_machine(error: BaseException) -> str | None:
    """A message for an error that comes from Ray, a network or the machine; None if it is a fault of asc."""
    for cause in _causes(error):
        said = str(cause).strip().partition("\n")[0][:200] or "no reason is known"
        if isinstance(cause, RayError) and not isinstance(cause, RayTaskError):
            return f"Ray cannot go on ({type(cause).__name__}: {said}): check that its nodes are up and have room"
        if isinstance(cause, (OSError, MemoryError)) or "can't start new thread" in said:
            return f"this machine cannot continue the search ({type(cause).__name__}: {said}): fix that"
    return None


def _orders(
    conductor: Conductor, settings: SearchSettings, data: DataChoice, cache: Path
) -> Callable[[Assignment], TrialOrder]:
    """Return a function that turns the conductor's assignments into orders for workers."""
    run_folder = conductor.journal.path.parent.resolve()
    bucket = run_bucket(run_folder)
    confirm = confirmation_split(data)

    def order(assignment: Assignment) -> TrialOrder:
        return TrialOrder(
            config=assignment.experiment.flat(),
            data=data,
            data_digest=conductor.record.started.data_digest or "",
            cache=str(cache),
            folder=str(trial_folder(run_folder, assignment.trial)),
            threads=settings.cpus_per_trial // settings.workers_per_trial,
            journalled=assignment.journalled,
            pauses_after=assignment.pauses_after,
            on_gpu=settings.gpus_per_trial > 0,
            shared=not settings.local,
            bucket=bucket and bucket.at(TRIALS_FOLDER, assignment.trial),
            workers=settings.workers_per_trial,
            confirm=confirm if assignment.final else None,
            teacher=None if assignment.soft_labels is None else str(run_folder / SOFT_LABELS),
            teacher_digest=assignment.soft_labels,
        )

    return order


def _unwritable(conductor: Conductor, error: OSError) -> InputError:
    """The error for a run folder that cannot be written."""
    folder = conductor.journal.path.parent
    what = f"the disk of {folder} is full" if disk_is_full(error) else f"{folder} cannot be written"
    advice = "free some space" if disk_is_full(error) else "fix that"
    return InputError(f"{what} ({error.strerror}): {advice}, then resume with: {resume_command(folder)}")


def _trial(settings: SearchSettings) -> Callable[[dict[str, Any]], None]:
    """The function that Tune runs for each trial, by the number of workers."""
    if settings.workers_per_trial == 1:
        return run_trial
    from asc.search.cluster.group import run_group

    return run_group


def _slots(settings: SearchSettings) -> tune.PlacementGroupFactory:
    """The resources that Tune reserves for a trial: a bundle per worker, and none for a process that starts a group."""
    workers = settings.workers_per_trial
    each = {"CPU": settings.cpus_per_trial / workers, "GPU": settings.gpus_per_trial / workers}
    bundle = {name: number for name, number in each.items() if number > 0}
    return tune.PlacementGroupFactory([bundle] if workers == 1 else [{}, *[bundle] * workers])


def _fit(
    settings: SearchSettings,
    trial: Callable[[dict[str, Any]], None],
    searcher: ConductedSearcher,
    scheduler: ConductedScheduler,
    watch: FailureWatch,
    end: EndOfSearch,
    scratch: Path,
) -> None:
    tune.Tuner(
        tune.with_resources(trial, _slots(settings)),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,
            reuse_actors=settings.workers_per_trial == 1,
            # Also the number of workers that Tune starts at the same time; without it, one after the other.
            max_concurrent_trials=settings.max_concurrent,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            verbose=0,
            stop=end,
            callbacks=[watch],
            failure_config=tune.FailureConfig(max_failures=0),  # the conductor hands failed trials out again
        ),
    ).fit()


@contextlib.contextmanager
def _scratch(run_folder: Path) -> Iterator[Path]:
    """A folder for Ray Tune's own state files, which nobody reads."""
    scratch = run_folder / RAY_FOLDER
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
