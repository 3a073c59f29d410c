"""The command line of launch/search.py, and how it becomes settings, a space and data."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from asc.console import cli
from asc.results import CalibrationMethod
from asc.runs.bucket import check_new_run, check_storage
from asc.search.settings import SearchSettings
from asc.typed import Scalar

_Number = cli.option("N")
_Name = cli.option("NAME")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Search for the best network within a hard size limit.

    Every trial is trained with quantisation and judged by its stored 8-bit network on validation clips; no trial is
    over the budget. Without options: a small search on built-in data, a few minutes on two cores.
    """

    budget_kb: Annotated[float | None, cli.option("KB")] = None
    """The size limit in KB of the rule (default 128)."""
    rule: Annotated[str | None, _Name] = None
    """How bytes are counted: dcase2021 (default), dcase2022, dcase2024, or file: the model file on disk."""
    space: Annotated[str | None, _Name] = None
    """The search space: quick (default), idlab128, or a TOML file."""
    recipe: Annotated[str | None, _Name] = None
    """The reference that is trial 0 and fills in what the space leaves open (default qat_8b)."""
    data: Annotated[str | None, cli.option("SPEC")] = None
    """synthetic (default), tau2020:DIR, tau2022:DIR, esc10:DIR, csv:FILE or folder:DIR."""
    fold: Annotated[int | None, _Number] = None
    """The test fold, which the search never sees (default 1)."""
    data_seed: Annotated[int | None, _Number] = None
    """Draws the validation and calibration clips (default 0)."""
    device_irs: Annotated[str | None, cli.option("DIR")] = None
    """Impulse responses of microphones (MicIRP): makes data of one device a set of nine, three of them in test only."""
    group_from: Annotated[str | None, cli.option("REGEX")] = None
    """Keeps files of one source in one split, for folder:DIR and csv:FILE without groups: what is in the parentheses of
    this regular expression names the source, as '/(\\d+-\\d+)-' does in dog/1-17808-A.ogg."""
    calibrate: Annotated[CalibrationMethod | None, _Name] = None
    """Calibrate each trained network on the calibration split: temperature, multinomial or one_vs_rest, fused into its
    last layer, and only where cross-validation gains by it; none switches that of a recipe off. Pruned networks, whose
    zeros a regression would fill, take temperature, and so do all where the recipe is pruned. Costs seconds a trial."""
    trials: Annotated[int | None, _Number] = None
    """How many networks to try, the reference included (default 8)."""
    time_budget_min: Annotated[float | None, cli.option("MIN")] = None
    """Stop after this many minutes of this process; --resume goes on."""
    cycles: Annotated[int | None, _Number] = None
    """Learning rate cycles of a trial, instead of the space's."""
    epochs_per_cycle: Annotated[int | None, _Number] = None
    """Epochs of a cycle, instead of the space's; trials are compared at the end of each cycle."""
    max_concurrent: Annotated[int | None, _Number] = None
    """Trials at a time (default: one for each core, at most 4). With 1 a search is reproducible to the last digit."""
    workers_per_trial: Annotated[int | None, _Number] = None
    """Processes that train a trial together, on one node or on several, each a part of every batch (default 1). The
    start of a group takes some ten seconds: it pays where an epoch takes longer."""
    cpus_per_trial: Annotated[int | None, _Number] = None
    """Cores of a trial, all its workers' together (default: the cores here, divided among the trials)."""
    gpus_per_trial: Annotated[float | None, cli.option("G")] = None
    """GPUs of a trial, also a part of one; with several workers as many as there are of them (default 0)."""
    address: Annotated[str | None, cli.option("HOST:PORT")] = None
    """A Ray cluster that runs already (or auto), with cache, data and --storage on folders that its nodes share, or
    --storage in a bucket; without it, or with local, Ray runs here, on loopback only."""
    seed: Annotated[int | None, _Number] = None
    """Decides the points that are sampled, the initial weights and the augmentation (default 0)."""
    name: Annotated[str | None, _Name] = None
    """Name of the run (default: search with date and time)."""
    resume: Annotated[str | None, _Name] = None
    """Go on with this search: nothing that finished is lost or run again."""
    storage: Annotated[str, cli.option("DIR|s3://BUCKET/PREFIX")] = "runs"
    """Where runs and the MLflow store lie (default: runs). In a bucket lie runs alone: runs/NAME is then a working
    copy, and --resume NAME goes on from the bucket on any machine."""
    cache: Annotated[Path | None, cli.option("DIR")] = None
    """Where packed audio lies (default: $ASC_CACHE or ~/.cache/asc)."""
    mlflow_uri: Annotated[str | None, cli.option("URI")] = None
    """An MLflow server or database, or none (default: a database beside the run's folder)."""
    dry_run: bool = False
    """Say what would be done, and how long it may take; train nothing."""
    json: bool = False
    """Print one JSON object on standard output."""

    def given(self) -> dict[str, Scalar]:
        """The settings that this command line names."""
        keys = SearchSettings.__dataclass_fields__
        values = {key: getattr(self, key) for key in keys if hasattr(self, key)}
        return {key: value for key, value in values.items() if value is not None}

    def settings(self) -> SearchSettings:
        """The settings of a new search, defaults filled in."""
        cores = len(os.sched_getaffinity(0))
        workers = self.workers_per_trial or 1
        concurrent = self.max_concurrent or max(1, min(cores // workers, 4))
        defaults: dict[str, Scalar] = {
            "budget_kb": 128.0,
            "rule": "dcase2021",
            "recipe": "qat_8b",
            "data": "synthetic",
            "fold": 1,
            "data_seed": 0,
            "seed": 0,
            "trials": 8,
            "max_concurrent": concurrent,
            "cpus_per_trial": max(1, cores // concurrent // workers) * workers,
        }
        return SearchSettings(**{**defaults, **self.given()})  # type: ignore[arg-type]

    def check_run(self) -> None:
        """Check what takes no time: the storage is there, a new run's name is free, and this machine has enough for it.

        Raises:
            InputError: it is not.
        """
        check_storage(self.storage)
        if self.resume is None:
            check_new_run(self.storage, self.run_name())
            self.settings().check_machine(self.given())

    def run_name(self) -> str:
        """The name that was given, or one from the clock."""
        return self.name or f"search-{time.strftime('%Y%m%d-%H%M%S')}"
