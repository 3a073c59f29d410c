"""Runs a search on Ray Tune, here or on a cluster, and says how it ended.

Call `asc.search.environment.prepare` before this module is imported, for Ray reads its environment on import.
"""

import contextlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import ray
from ray import tune

from asc.errors import InputError
from asc.search.conductor import Assignment, Conductor, trial_folder
from asc.search.ray_adapters import ConductedScheduler, ConductedSearcher, Deadline, FailureWatch
from asc.search.settings import SearchSettings
from asc.search.trial import DataOptions, TrialOrder, run_trial

Ending = Literal["finished", "out of time", "interrupted"]
_RETRIES = 2


def run(conductor: Conductor, settings: SearchSettings, data: DataOptions) -> Ending:
    """Run trials until none is left, time is up, or Ctrl-C; everything that happened is in the journal.

    Raises:
        InputError: `--address` names no cluster that can be reached.
    """
    run_folder = conductor.journal.path.parent.resolve()

    def order(assignment: Assignment) -> TrialOrder:
        return TrialOrder(
            config=assignment.experiment.flat(),
            size_bytes=assignment.size_bytes,
            data=data,
            folder=str(trial_folder(run_folder, assignment.trial)),
            threads=settings.cpus_per_trial,
            journalled=assignment.journalled,
            on_gpu=settings.gpus_per_trial > 0,
        )

    deadline = Deadline(None if settings.time_budget_min is None else settings.time_budget_min * 60)
    with _ray(settings), _scratch(run_folder) as scratch:
        resources = {"cpu": settings.cpus_per_trial, "gpu": settings.gpus_per_trial}
        tune.Tuner(
            tune.with_resources(run_trial, resources),
            tune_config=tune.TuneConfig(
                search_alg=ConductedSearcher(conductor, order, max_concurrent=settings.max_concurrent),
                scheduler=ConductedScheduler(conductor),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(scratch),
                verbose=0,
                stop=deadline,
                callbacks=[FailureWatch(conductor)],
                failure_config=tune.FailureConfig(max_failures=_RETRIES),
            ),
        ).fit()
    if conductor.done and all(trial.ended for trial in conductor.record.trials.values()):
        return "finished"
    return "out of time" if deadline.passed else "interrupted"


@contextlib.contextmanager
def _ray(settings: SearchSettings) -> Iterator[None]:
    """Ray, quiet; its own local instance bound to loopback unless an address is given."""
    cpus = None if settings.address else settings.max_concurrent * settings.cpus_per_trial
    try:
        ray.init(
            address=settings.address or "local",
            num_cpus=cpus,
            include_dashboard=None if settings.address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise InputError(
            f"--address {settings.address}: no Ray cluster answers there; start one, or leave --address out to run here"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _scratch(run_folder: Path) -> Iterator[Path]:
    """A folder for Ray Tune's own state files, which nobody reads."""
    scratch = run_folder / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
