"""The settings of a search, as scalars: saved in the journal's first event and read back on resume."""

import dataclasses
import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment, method_for
from asc.config.recipes.loading import load_experiment
from asc.config.space import Space
from asc.errors import InputError, require
from asc.launchers import command
from asc.model_file.model_header import experiment_in
from asc.results import CalibrationMethod, RankBy
from asc.runs.record import RunRecord
from asc.runs.storage import storage_option
from asc.search.objectives import LOG_LOSS, objectives_from
from asc.typed import Scalar, Value, build

# After this many points in a row that become no trial, the search assumes that the space has no further network.
MOST_REFUSALS = 500
RESUMABLE = (
    *("trials", "time_budget_min", "max_concurrent", "workers_per_trial", "cpus_per_trial", "gpus_per_trial"),
    *("address", "mlflow_uri", "final_top", "final_seeds"),
)
_SCHEDULE_OF_FINALS = ("final_cycles", "final_epochs")
# These may change too, until a final has begun: the finals of a search have one schedule, and are its best trials.
RESUMABLE_BEFORE_FINALS = (*_SCHEDULE_OF_FINALS, "rank_by")
# And these, until there are soft labels or a teacher has begun.
RESUMABLE_BEFORE_TEACHERS = ("distil", "teacher_kb", "teacher_logits")
_CONNECT_S = 10.0
Asha = Literal["stopping", "promotion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Options of a search, with defaults filled in. Those in `RESUMABLE` may change on resume.

    Several budgets are in `budgets_kb`, as "16,32", and the largest of them is `budget_kb`.
    """

    budget_kb: float
    rule: str
    recipe: str
    data: str
    fold: int
    data_seed: int
    seed: int
    trials: int
    max_concurrent: int
    cpus_per_trial: int
    gpus_per_trial: float = 0.0
    workers_per_trial: int = 1
    time_budget_min: float | None = None
    cycles: int | None = None
    epochs_per_cycle: int | None = None
    cycle_growth: int | None = None
    device_irs: str | None = None
    augment_irs: str | None = None
    holdout_devices: str | None = None
    group_from: str | None = None
    max_mmacs_per_s: float | None = None
    max_ram_kb: float | None = None
    calibrate: CalibrationMethod | None = None
    address: str | None = None
    mlflow_uri: str | None = None
    budgets_kb: str | None = None
    warm_start: str | None = None
    portfolio: int | None = None
    asha: Asha = "stopping"
    objectives: str | None = None
    rank_by: RankBy = "log_loss"
    reduction_factor: int = 2
    final_top: int = 0
    final_seeds: int | None = None
    final_cycles: int | None = None
    final_epochs: int | None = None
    distil: bool = False
    teacher_kb: float | None = None
    teacher_logits: str | None = None

    def __post_init__(self) -> None:
        """Check ranges."""
        for key in (
            *("budget_kb", "max_mmacs_per_s", "max_ram_kb", "trials", "max_concurrent"),
            *("workers_per_trial", "cpus_per_trial", "time_budget_min"),
        ):
            value = getattr(self, key)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"--{key.replace('_', '-')} must be a number above 0, got {value}")
        if not (math.isfinite(self.gpus_per_trial) and self.gpus_per_trial >= 0):
            raise InputError(f"--gpus-per-trial must be a number of 0 or more, got {self.gpus_per_trial}")
        require(
            self.portfolio is None or self.portfolio >= 0,
            f"--portfolio must be 0 (no points of the portfolio) or more, got {self.portfolio}",
        )
        require(self.reduction_factor >= 2, f"--reduction-factor must be 2 or more, got {self.reduction_factor}")
        several = len(self.budgets)
        require(
            several == 1 or self.final_top == 0,
            "--final-top retrains the best of one budget: give one --budget-kb, or leave --final-top out",
        )
        require(
            several == 1 or self.objectives is None,
            "--objectives finds networks of every size up to one budget: give one --budget-kb, or leave it out",
        )
        require(
            several <= self.trials,
            f"--trials {self.trials} is less than the {several} budgets of --budget-kb: each has a reference to train",
        )
        assert self.aims, "raises InputError if they are wrong"
        self._check_workers()
        self._check_finals()
        self._check_teachers()

    def _check_finals(self) -> None:
        given = {key: getattr(self, key) for key in ("final_seeds", *_SCHEDULE_OF_FINALS)}
        for key, value in given.items():
            option = f"--{key.replace('_', '-')}"
            require(value is None or value >= 1, f"{option} must be 1 or more, got {value}")
            require(
                value is None or self.final_top != 0,
                f"{option} says how the best trials are retrained: give --final-top too, or leave it out",
            )
        require(self.final_top >= 0, f"--final-top must be 0 (no finals) or more, got {self.final_top}")
        require(
            self.final_top <= self.trials,
            f"--final-top {self.final_top} is more than the {self.trials} trials of the search: give a smaller number, "
            "or more --trials",
        )

    def _check_teachers(self) -> None:
        given = {"distil": self.distil, "teacher_logits": self.teacher_logits is not None}
        for key in (key for key, there in given.items() if there):
            require(
                self.final_top > 0,
                f"--{key.replace('_', '-')} says what the finals learn from: give --final-top too, or leave it out",
            )
        require(not all(given.values()), "--distil and --teacher-logits both name teachers: give one of them")
        if self.teacher_kb is not None:
            require(self.distil, "--teacher-kb says how large teachers may be: give --distil too, or leave it out")
            require(
                math.isfinite(self.teacher_kb) and self.teacher_kb > self.budget_kb,
                f"--teacher-kb {self.teacher_kb:g} is no more than --budget-kb {self.budget_kb:g}: teachers are larger "
                "than the networks of the search, so give more",
            )

    @property
    def teachers(self) -> int:
        """How many larger networks are trained as teachers: one for each seed of the finals."""
        return 0 if self.teacher_kb is None else self.final_seeds or 0

    @property
    def budgets(self) -> tuple[float, ...]:
        """The budgets in KB, the largest first."""
        if self.budgets_kb is None:
            return (self.budget_kb,)
        return tuple(sorted(map(float, self.budgets_kb.split(",")), reverse=True))

    @property
    def aims(self) -> tuple[str, ...]:
        """The objectives of a search, the log loss first."""
        return (LOG_LOSS,) if self.objectives is None else objectives_from(self.objectives)

    @property
    def finals(self) -> int:
        """How many finals there will be, if enough trials are trained to their end."""
        return self.final_top * (self.final_seeds or 0)

    def _check_workers(self) -> None:
        workers = self.workers_per_trial
        if self.cpus_per_trial % workers:
            raise InputError(
                f"--cpus-per-trial {self.cpus_per_trial} cannot be divided among --workers-per-trial {workers}: give a "
                f"multiple of {workers}"
            )
        if workers > 1 and self.gpus_per_trial not in (0, workers):
            raise InputError(
                f"--gpus-per-trial {self.gpus_per_trial:g} is neither 0 nor one per worker (--workers-per-trial "
                f"{workers}): give {workers}, or leave it out to train on CPUs"
            )

    @property
    def local(self) -> bool:
        """Whether Ray runs on this machine alone."""
        return self.address in (None, "local")

    def check_machine(self, given: Mapping[str, Scalar]) -> None:
        """Check that a trial that runs on this machine asks for no more cores and GPUs than the machine has.

        `given` holds the options of this command line. Cores are checked only if they are among them: a search that is
        resumed on a smaller machine keeps its `cpus_per_trial`, and its trials share the cores.

        Raises:
            InputError: it asks for more.
        """
        cores = len(os.sched_getaffinity(0))
        if self.local and "cpus_per_trial" in given and self.cpus_per_trial > cores:
            raise InputError(
                f"--cpus-per-trial {self.cpus_per_trial} is more than this machine has ({cores}): ask for less"
            )
        if self.local and self.gpus_per_trial > 0 and self.gpus_per_trial > (gpus := _gpus()):
            raise InputError(
                f"--gpus-per-trial {self.gpus_per_trial:g} is more than torch finds on this machine ({gpus}): ask "
                "for less, or leave it out to train on CPUs"
            )

    def check_address(self) -> None:
        """Check that something answers at the host and port of `--address`; Ray itself would try for minutes.

        Raises:
            InputError: nothing answers.
        """
        host, _, port = (self.address or "").rpartition(":")
        if self.local or not host or not port.isdigit():
            return
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
        except (OSError, OverflowError) as error:
            raise InputError(
                f"--address {self.address}: no Ray cluster answers there ({error}); start one, or leave --address out "
                "to run here"
            ) from error

    @property
    def choice(self) -> DataChoice:
        """The data that the search trains on."""
        return DataChoice(
            self.data,
            fold=self.fold,
            data_seed=self.data_seed,
            device_irs=self.device_irs,
            group_from=self.group_from,
            augment_irs=self.augment_irs,
            holdout_devices=self.holdout_devices,
        )

    def scalars(self) -> dict[str, Scalar]:
        """The settings that are not None, for the journal; those that came after asc 0.1 only if they say something."""
        given = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        silent: dict[str, Scalar] = {"final_top": 0, "distil": False, "asha": "stopping", "rank_by": "log_loss"}
        return {key: value for key, value in given.items() if silent.get(key) != value}

    def of_trials(self) -> dict[str, Value]:
        """The config keys that the options set for every trial, instead of the space or the recipe."""
        values: dict[str, Value | None] = {
            "schedule.cycles": self.cycles,
            "schedule.epochs_per_cycle": self.epochs_per_cycle,
            "schedule.cycle_growth": self.cycle_growth,
            "calibration.method": self.calibrate,
        }
        return {key: value for key, value in values.items() if value is not None}

    def reference(self, space: Space, *, classes: int) -> Experiment:
        """The config of trial 0 before repair: the recipe, overridden by the space's settings, then by the options."""
        values = {**space.settings, "seed": self.seed, "architecture.classes": classes, **self.of_trials()}
        recipe = load_experiment(self.recipe, of_model=experiment_in)
        plain = recipe.updated({**values, "calibration.method": "none"})
        method = cast(CalibrationMethod, values.get("calibration.method", recipe.calibration.method))
        values["calibration.method"] = method_for(method, plain.compression.prune_ratio)
        return recipe.updated(values)


def _gpus() -> int:
    """How many GPUs torch finds here. Without a driver there are none, so torch, which takes seconds, is not imported.

    The files are those of the drivers for NVIDIA, for NVIDIA under WSL, and for AMD.
    """
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")):
        return 0
    import torch

    return torch.cuda.device_count()


def settings_from(*layers: Mapping[str, Scalar]) -> SearchSettings:
    """The settings of a search: those that it was started with, overridden by those given at each resume."""
    return build(SearchSettings, {key: value for layer in layers for key, value in layer.items()})


def settings_of(record: RunRecord) -> SearchSettings:
    """The settings of a search as its journal stands."""
    return settings_from(record.started.settings, *(resumed.settings for resumed in record.resumed))


def resume_command(run_folder: Path) -> str:
    """The command line that resumes a search."""
    return f"{command('search')} --resume {run_folder.name}{storage_option(run_folder)}"
