"""The command line of launch/search.py, and how it becomes settings, a space and data."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from asc.config.data_guess import check_place, guessed
from asc.config.recipes.loading import load_experiment
from asc.config.space_file import load_space
from asc.console import cli
from asc.errors import InputError, require
from asc.model_file.model_header import experiment_in
from asc.results import CalibrationMethod, RankBy
from asc.runs.storage import check_new_run, check_storage
from asc.search.objectives import objectives_from
from asc.search.settings import Asha, SearchSettings
from asc.size.rules import rule
from asc.typed import Scalar

_Number = cli.option("N")
_Name = cli.option("NAME")


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Search for the best network within a hard size limit.

    Every trial is trained with quantisation and judged by its stored 8-bit network on validation clips; no trial
    exceeds the budget. Without options: a small search on built-in data, a few minutes on two cores.
    """

    HELP_GROUPS: ClassVar[Mapping[str, str]] = {
        "budget_kb": "budget and space",
        "data": "data",
        "trials": "trials and time",
        "final_top": "final training",
        "cycles": "training",
        "max_concurrent": "cluster",
        "name": "storage and tracking",
        "dry_run": "output",
    }
    budget_kb: Annotated[float | str | None, cli.option("KB")] = None
    """The size limit, in KB as the rule defines them (default 128). Several, as 16,32,64,128, are searched together:
    the trials take turns, and the best network within each is saved."""
    rule: Annotated[str | None, _Name] = None
    """How bytes are counted: dcase2021 (default, unless the space names another), dcase2022, dcase2024, dcase2025, or
    file (the size of the model file)."""
    max_mmacs_per_s: Annotated[float | None, cli.option("M")] = None
    """At most this many million multiply-accumulates per second of audio, beside the limit of the rule."""
    max_ram_kb: Annotated[float | None, cli.option("KB")] = None
    """At most this peak activation memory for a clip of 10 s, in KB of 1,024 bytes."""
    space: Annotated[str | None, _Name] = None
    """The search space: quick (default), idlab128, grown128, front128, robust128, families128, dcase2025, or a TOML
    file."""
    recipe: Annotated[str | None, _Name] = None
    """The reference: it is trial 0, and its values apply where the space gives none (default qat_8b)."""
    data: Annotated[str | None, cli.option("SPEC")] = None
    """synthetic (default), tau2020:DIR, tau2022:DIR, tau2025:DIR, esc10:DIR, csv:FILE, folder:DIR, or DIR alone: then
    its kind is guessed."""
    fold: Annotated[int | None, _Number] = None
    """The test fold, which the search never sees (default 1)."""
    data_seed: Annotated[int | None, _Number] = None
    """Seed that draws the validation and calibration clips (default 0)."""
    device_irs: Annotated[str | None, cli.option("DIR")] = None
    """Microphone impulse responses (MicIRP): simulate nine devices from data of one, three of them only in test."""
    augment_irs: Annotated[str | None, cli.option("DIR")] = None
    """Impulse responses for augment.impulse_response_p; by default those of --device-irs."""
    holdout_devices: Annotated[str | None, cli.option("NAMES")] = None
    """Keep these devices out of training, as s2,s3, and validate and calibrate on them alone: so that the search ranks
    networks by devices that they never heard."""
    group_from: Annotated[str | None, cli.option("REGEX")] = None
    """Keeps files of one source in one split, for folder:DIR and csv:FILE without groups: the parentheses of this
    regular expression match the name of the source, as in '/(\\d+-\\d+)-' for dog/1-17808-A.ogg."""
    trials: Annotated[int | None, _Number] = None
    """Number of networks to try, the reference included (default 8)."""
    warm_start: Annotated[str | None, cli.option("RUNS")] = None
    """Earlier searches, as night,day: after the reference, the points of the best 5 trials of each are tried again,
    within this budget and space; at most half of the trials."""
    portfolio: Annotated[int | None, _Number] = None
    """Points of the space's portfolio, which were good in earlier trainings, to try after the reference (default: all
    of them; 0: none); with --warm-start at most half of the trials."""
    rank_by: Annotated[RankBy | None, _Name] = None
    """What makes a trial the best: log_loss (default) or accuracy, on validation clips. Early stopping and the choice
    of points go by log loss in any case."""
    objectives: Annotated[str | None, cli.option("NAMES")] = None
    """Search for a Pareto front of log_loss and some of bytes, macs (per second of audio) and ram (peak activations),
    as log_loss,bytes,macs: early stopping and the choice of points then keep small networks too, and the front is
    printed."""
    asha: Annotated[Asha | None, _Name] = None
    """How trials are stopped early (asynchronous successive halving): stopping (default: a trial goes on, unless it is
    among the worse when it is compared) or promotion (every trial pauses when it is compared, and only the best go on,
    when a worker is free)."""
    reduction_factor: Annotated[int | None, _Number] = None
    """The best 1/N go on when trials are compared (default 2)."""
    time_budget_min: Annotated[float | None, cli.option("MIN")] = None
    """Stop this process after this many minutes; --resume continues the search."""
    seed: Annotated[int | None, _Number] = None
    """Seed of the sampled points, the initial weights and the augmentation (default 0)."""
    final_top: Annotated[int | None, _Number] = None
    """When all trials have ended, retrain the best N with fresh seeds and the full schedule, judge them on locations
    that the search has not seen, and save the one with the best mean (default 0: none)."""
    final_seeds: Annotated[int | None, _Number] = None
    """Seeds that each of the best is retrained with (default 3)."""
    final_cycles: Annotated[int | None, _Number] = None
    """Learning rate cycles of that retraining (default: those of the recipe; qat_8b has 3)."""
    final_epochs: Annotated[int | None, _Number] = None
    """Epochs per cycle of that retraining (default: those of the recipe; qat_8b has 120)."""
    distil: bool = False
    """Train these finals also on soft labels: the mean probabilities that the best --final-top networks of the search
    give for each training clip."""
    teacher_kb: Annotated[float | None, cli.option("KB")] = None
    """With --distil: first train larger networks, of about this many KB, as further teachers, one for each seed."""
    teacher_logits: Annotated[str | None, cli.option("FILE")] = None
    """Train these finals also on the soft labels of other teachers, a safetensors file (docs/search.md)."""
    cycles: Annotated[int | None, _Number] = None
    """Learning rate cycles per trial, instead of the space's."""
    epochs_per_cycle: Annotated[int | None, _Number] = None
    """Epochs per cycle, instead of the space's; trials are compared at the ends of cycles."""
    cycle_growth: Annotated[int | None, _Number] = None
    """Each cycle is N times as long as the one before, and --epochs-per-cycle is the first one's length; trials are
    then compared at the end of every cycle (default: the space's, else the recipe's: 1)."""
    calibrate: Annotated[CalibrationMethod | None, _Name] = None
    """Calibrate each trained network on the calibration split, if cross-validation shows a gain: temperature,
    multinomial or one_vs_rest, fused into the last layer; none switches off a recipe's calibration. Pruned networks,
    and all trials of a pruned recipe, use temperature: a regression would fill the zeros. Takes seconds per trial."""
    max_concurrent: Annotated[int | None, _Number] = None
    """Trials at a time (default: one per core, at most 4). With 1, a search is reproducible to the last digit."""
    workers_per_trial: Annotated[int | None, _Number] = None
    """Processes that train a trial together, on one node or several; each takes a part of every batch (default 1).
    Starting them takes about ten seconds, so it pays if an epoch takes longer."""
    cpus_per_trial: Annotated[int | None, _Number] = None
    """Cores per trial, summed over its workers (default: the cores here, divided among the trials)."""
    gpus_per_trial: Annotated[float | None, cli.option("G")] = None
    """GPUs per trial, or a fraction of one; with several workers, one per worker (default 0)."""
    address: Annotated[str | None, cli.option("HOST:PORT")] = None
    """A running Ray cluster (or auto). Its nodes must share the folders of cache, data and --storage, or --storage is a
    bucket. Without this option, or with local, Ray runs here, on loopback only."""
    name: Annotated[str | None, _Name] = None
    """Name of the run (default: search with date and time)."""
    resume: Annotated[str | None, _Name] = None
    """Continue this search: nothing that finished is lost or run again."""
    storage: Annotated[str, cli.option("DIR|s3://BUCKET/PREFIX")] = "runs"
    """Where runs and the MLflow store are saved (default: runs). A bucket holds only runs: runs/NAME is then a working
    copy, and --resume NAME continues from the bucket on any machine."""
    cache: Annotated[Path | None, cli.option("DIR")] = None
    """Where packed audio is saved (default: $ASC_CACHE or ~/.cache/asc)."""
    mlflow_uri: Annotated[str | None, cli.option("URI")] = None
    """An MLflow server or database; none for no tracking (default: a database beside the run's folder)."""
    dry_run: bool = False
    """Show what the search would do and how long it may take; train nothing."""
    quiet: bool = False
    """Print no progress: only results, and what went wrong."""
    verbose: bool = False
    """Also print a line for each epoch of each trial."""
    json: bool = False
    """Print one JSON object on standard output."""

    def given(self) -> dict[str, Scalar]:
        """The settings that are given on this command line."""
        keys = SearchSettings.__dataclass_fields__
        values = {key: getattr(self, key) for key in keys if hasattr(self, key)}
        values["data"] = None if self.data is None else guessed(self.data)
        given = {key: value for key, value in values.items() if value is not None and value is not False}
        if self.objectives is not None:
            given["objectives"] = ",".join(objectives_from(self.objectives))
        return given if self.budget_kb is None else {**given, **_budget_settings(str(self.budget_kb))}

    def settings(self, rule: str | None = None) -> SearchSettings:
        """The settings of a new search, defaults filled in; `rule` is the one that the space names."""
        cores = len(os.sched_getaffinity(0))
        workers = self.workers_per_trial or 1
        concurrent = self.max_concurrent or max(1, min(cores // workers, 4))
        defaults: dict[str, Scalar] = {
            "budget_kb": 128.0,
            "rule": rule or "dcase2021",
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
        """Run the quick checks, before imports that take seconds.

        The storage exists, a new run's name is free, the space, the recipe, the rule and the data exist, and this
        machine has the cores and GPUs.

        Raises:
            InputError: one of them fails.
        """
        check_storage(self.storage)
        if self.resume is None:
            check_new_run(self.storage, self.run_name())
            load_space(self.space or "quick")
            load_experiment(self.recipe or "qat_8b", of_model=experiment_in)
            rule(self.rule or "dcase2021")
            check_place(guessed(self.data or "synthetic"))
            self.settings().check_machine(self.given())

    def run_name(self) -> str:
        """The name that was given, or one from the date and time."""
        return self.name or f"search-{time.strftime('%Y%m%d-%H%M%S')}"


def _budget_settings(given: str) -> dict[str, Scalar]:
    """The settings of a `--budget-kb`: one number of KB, or several with commas.

    Raises:
        InputError: one of them is not a number above 0, or they are given twice.
    """
    try:
        every = [float(text) for text in given.split(",")]
    except ValueError:
        every = []
    if not every or not all(math.isfinite(value) and value > 0 for value in every):
        raise InputError(f"--budget-kb must be a number above 0, or several as 16,32,64, got {given}")
    require(len(set(every)) == len(every), f"--budget-kb {given} has a budget twice: leave one of them out")
    if len(every) == 1:
        return {"budget_kb": every[0]}
    return {"budget_kb": max(every), "budgets_kb": ",".join(f"{value:g}" for value in sorted(every))}
