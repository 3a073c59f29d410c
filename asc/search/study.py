"""Runs a search on Ray Tune, here or on a cluster, and says how it ended.

Call `asc.search.environment.prepare` before this module is imported, for Ray reads its environment on import.
"""

import contextlib
import logging
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import ray
from ray import tune

from asc.data.choice import DataChoice
from asc.errors import InputError, disk_is_full
from asc.journal import RunEnded
from asc.runs import TRIALS
from asc.search.conductor import Assignment, Conductor, trial_folder
from asc.search.ray_adapters import RETRIES, ConductedScheduler, ConductedSearcher, EndOfSearch, FailureWatch
from asc.search.settings import SearchSettings, resume_command
from asc.search.trial import TrialOrder, run_trial
from asc.storage import run_bucket

Ending = Literal["finished", "out of time", "interrupted", "halted"]


def run(
    conductor: Conductor,
    settings: SearchSettings,
    data: DataChoice,
    cache: Path,
    *,
    say: Callable[[str], None],
    trial: Callable[[dict[str, Any]], None] | None = None,
) -> Ending:
    """Run trials until none is left, time is up, Ctrl-C, or what no trial can get past (`conductor.problem` says it).

    Everything that happened is in the journal. `cache` is where workers find the packed audio, `trial` what they do:
    train, in the trial's process or in a group of workers. `say` gets a sentence where the cluster is too small now.

    Raises:
        InputError: `--address` names no cluster that can be reached, or a trial asks for more than this machine has.
        OSError: the journal could not be written; what it holds stays whole.
    """
    interrupts, terminations = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    end = EndOfSearch(conductor, None if settings.time_budget_min is None else settings.time_budget_min * 60)
    searcher = ConductedSearcher(conductor, _orders(conductor, settings, data, cache))
    try:
        with _ray(settings), _scratch(conductor.journal.path.parent.resolve()) as scratch:
            _check_resources(settings, say)
            logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is journalled and shown by us
            signal.signal(signal.SIGTERM, terminations)  # Ray's own would end this process on the spot
            _fit(conductor, trial or _trial(settings), searcher, end, settings, scratch)
    except KeyboardInterrupt:
        return "interrupted"
    except BaseException as error:
        # Tune wraps what its callbacks raise; a journal that could not be written is the true reason.
        if conductor.journal.failure is not None:
            raise _unwritable(conductor, conductor.journal.failure) from None
        if isinstance(error, OSError) and disk_is_full(error):
            raise _unwritable(conductor, error) from None
        conductor.journal.append(RunEnded(outcome="interrupted", best=None))
        raise
    finally:
        signal.signal(signal.SIGINT, interrupts)
        signal.signal(signal.SIGTERM, terminations)
    if conductor.problem is not None:
        return "halted"
    if conductor.done and not conductor.record.unfinished:
        return "finished"
    return "out of time" if end.passed else "interrupted"


def _orders(
    conductor: Conductor, settings: SearchSettings, data: DataChoice, cache: Path
) -> Callable[[Assignment], TrialOrder]:
    """What a worker is told of each trial that the conductor assigns."""
    run_folder = conductor.journal.path.parent.resolve()
    bucket = run_bucket(run_folder)

    def order(assignment: Assignment) -> TrialOrder:
        return TrialOrder(
            config=assignment.experiment.flat(),
            data=data,
            data_digest=conductor.record.started.data_digest or "",
            cache=str(cache),
            folder=str(trial_folder(run_folder, assignment.trial)),
            threads=settings.cpus_per_trial // settings.workers_per_trial,
            journalled=assignment.journalled,
            on_gpu=settings.gpus_per_trial > 0,
            shared=not settings.local,
            bucket=bucket and bucket.at(TRIALS, assignment.trial),
            workers=settings.workers_per_trial,
        )

    return order


def _unwritable(conductor: Conductor, error: OSError) -> OSError | InputError:
    """What to say of a run whose folder cannot be written; anything but a full disk is left as it is."""
    if not disk_is_full(error):
        return error
    folder = conductor.journal.path.parent
    return InputError(
        f"the disk of {folder} is full ({error.strerror}): free some space, then go on with: {resume_command(folder)}"
    )


def _trial(settings: SearchSettings) -> Callable[[dict[str, Any]], None]:
    """Tune's function for so many workers."""
    if settings.workers_per_trial == 1:
        return run_trial
    from asc.search.group import run_group

    return run_group


def _slots(settings: SearchSettings) -> tune.PlacementGroupFactory:
    """What Tune sets aside for a trial: a bundle of slots for each worker; the process that starts a group has none."""
    workers = settings.workers_per_trial
    each = {"CPU": settings.cpus_per_trial / workers, "GPU": settings.gpus_per_trial / workers}
    bundle = {name: number for name, number in each.items() if number > 0}
    return tune.PlacementGroupFactory([bundle] if workers == 1 else [{}, *[bundle] * workers])


def _fit(
    conductor: Conductor,
    trial: Callable[[dict[str, Any]], None],
    searcher: ConductedSearcher,
    end: EndOfSearch,
    settings: SearchSettings,
    scratch: Path,
) -> None:
    tune.Tuner(
        tune.with_resources(trial, _slots(settings)),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=ConductedScheduler(conductor),
            num_samples=-1,
            reuse_actors=settings.workers_per_trial == 1,
            # It is also how many workers Tune starts at the same time: one after the other, if it is left out.
            max_concurrent_trials=settings.max_concurrent,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            verbose=0,
            stop=end,
            callbacks=[FailureWatch(conductor)],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        ),
    ).fit()


@contextlib.contextmanager
def _ray(settings: SearchSettings) -> Iterator[None]:
    """Ray, quiet; its own local instance bound to loopback unless an address is given."""
    cpus = settings.max_concurrent * settings.cpus_per_trial if settings.local else None
    try:
        ray.init(
            address="local" if settings.local else settings.address,
            num_cpus=cpus,
            include_dashboard=False if settings.local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ray.exceptions.AuthenticationError as error:
        raise InputError(
            f"Ray finds no token that will do ({str(error).partition('. ')[0]}): put the cluster's into "
            "~/.ray/auth_token, or name its file in RAY_AUTH_TOKEN_PATH"
        ) from error
    except (ConnectionError, ValueError) as error:
        raise InputError(
            f"--address {settings.address}: no Ray cluster answers there, or it does not take this machine's token "
            "(~/.ray/auth_token); start one, or leave --address out to run here"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_resources(settings: SearchSettings, say: Callable[[str], None]) -> None:
    """Ray lets a trial wait that asks for more than there is: for ever on this machine, until nodes come on a cluster.

    Raises:
        InputError: it asks for more than this machine has.
    """
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    for name, wanted in (("CPU", settings.cpus_per_trial), ("GPU", settings.gpus_per_trial)):
        has = there.get(name, 0)
        if wanted > has and settings.local:
            raise InputError(f"--{name.lower()}s-per-trial {wanted:g} is more than Ray has ({has:g}): ask for less")
        if wanted > has:
            say(
                f"the cluster has {has:g} {name}s now and a trial wants {wanted:g}: trials wait until nodes come (`ray "
                "status` shows whether any are on their way; Ctrl-C ends the search)"
            )


@contextlib.contextmanager
def _scratch(run_folder: Path) -> Iterator[Path]:
    """A folder for Ray Tune's own state files, which nobody reads."""
    scratch = run_folder / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
