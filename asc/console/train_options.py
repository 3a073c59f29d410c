"""The command line of launch/train.py."""

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from asc.config.experiment import Experiment
from asc.console import cli
from asc.console.options import ConfigOptions, DataOptions
from asc.errors import InputError

_Number = cli.option("N")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train one config from start to end, or go on with a training that was cut off.

    Without further options a recipe has the report's full schedule, 3 cycles of 120 epochs in batches of 64.
    """

    network: Annotated[ConfigOptions, tyro.conf.arg(name="")] = field(default_factory=ConfigOptions)
    data: Annotated[DataOptions, tyro.conf.arg(name="")] = field(default_factory=DataOptions)
    cycles: Annotated[int | None, _Number] = None
    """Learning rate cycles (schedule.cycles; the report has 3)."""
    epochs_per_cycle: Annotated[int | None, _Number] = None
    """Epochs of a cycle (schedule.epochs_per_cycle; the report has 120)."""
    batch_size: Annotated[int | None, _Number] = None
    """Clips of a batch (schedule.batch_size; the report has 64, small data sets want 8 to 16)."""
    seed: Annotated[int | None, _Number] = None
    """Decides the initial weights, the order of clips and the augmentation."""
    calibrate_on_test: bool = False
    """Calibrate on the test fold, as the starred rows of the report did: figures there are optimistic then."""
    name: Annotated[str | None, cli.option("NAME")] = None
    """Name of the run; by default the recipe with date and time."""
    resume: Annotated[str | None, cli.option("NAME")] = None
    """Go on with this run from its last checkpoint; its config and data are taken from its journal."""
    storage: Annotated[str, cli.option("DIR|s3://BUCKET/PREFIX")] = "runs"
    """Where runs and the MLflow store lie. In a bucket lie runs alone: runs/NAME is then a working copy, and --resume
    NAME goes on from the bucket on any machine."""
    cache: Annotated[Path | None, cli.option("DIR")] = None
    """Where packed audio lies; by default $ASC_CACHE or ~/.cache/asc."""
    mlflow_uri: Annotated[str | None, cli.option("URI")] = None
    """An MLflow server or database, or none; by default a database beside the run's folder."""
    json: bool = False
    """Print one JSON object on standard output."""

    def experiment(self) -> Experiment:
        """The config that these options ask for."""
        given = {
            "schedule.cycles": self.cycles,
            "schedule.epochs_per_cycle": self.epochs_per_cycle,
            "schedule.batch_size": self.batch_size,
            "seed": self.seed,
            "calibration.fit_on": "test" if self.calibrate_on_test else None,
        }
        chosen = self.network.experiment().updated({key: value for key, value in given.items() if value is not None})
        if self.calibrate_on_test and chosen.calibration.method == "none":
            raise InputError("--calibrate-on-test: the recipe has no calibration; take 8b_calibm or 8b_calibo")
        return chosen

    def run_name(self) -> str:
        """The name that was given, or one from the recipe and the clock."""
        recipe = Path(self.network.config or self.network.recipe or "qat_8b").stem
        return self.name or f"{recipe}-{time.strftime('%Y%m%d-%H%M%S')}"

    def check_resume(self) -> None:
        """Raise InputError for options that a resumed training cannot take: its config and data are journalled."""
        given, fresh = _flat(self), _flat(Options())
        for key in given:
            if key not in ("resume", "storage", "cache", "mlflow_uri", "json") and given[key] != fresh[key]:
                name = {"overrides": "set"}.get(key, key.replace("_", "-"))
                raise InputError(f"--{name} cannot change on --resume {self.resume}: leave it out")


def _flat(options: Options) -> dict[str, object]:
    own = {f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.name not in ("network", "data")}
    return {**dataclasses.asdict(options.network), **dataclasses.asdict(options.data), **own}
