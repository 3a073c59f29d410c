"""The command line of launch/train.py."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from asc.config.experiment import Experiment
from asc.config.recipes.loading import OfRun
from asc.console import cli
from asc.console.options import ConfigOptions, DataOptions
from asc.errors import InputError

_Number = cli.option("N")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Train one config from start to end, or resume an interrupted training.

    By default a recipe uses the technical report's full schedule: 3 cycles of 120 epochs with batches of 64.
    """

    HELP_GROUPS: ClassVar[Mapping[str, str]] = {
        "network": "network",
        "data": "data",
        "cycles": "training",
        "name": "storage and tracking",
        "quiet": "output",
    }
    network: Annotated[ConfigOptions, tyro.conf.arg(name="")] = field(default_factory=ConfigOptions)
    data: Annotated[DataOptions, tyro.conf.arg(name="")] = field(default_factory=DataOptions)
    cycles: Annotated[int | None, _Number] = None
    """Learning rate cycles (schedule.cycles; the report has 3)."""
    epochs_per_cycle: Annotated[int | None, _Number] = None
    """Epochs per cycle (schedule.epochs_per_cycle; the report has 120)."""
    cycle_growth: Annotated[int | None, _Number] = None
    """Each cycle is N times as long as the one before, and --epochs-per-cycle is the first one's length
    (schedule.cycle_growth; the report has 1)."""
    batch_size: Annotated[int | None, _Number] = None
    """Clips per batch (schedule.batch_size; the report has 64; use 8 to 16 for small data sets)."""
    seed: Annotated[int | None, _Number] = None
    """Random seed for the initial weights, the order of clips and the augmentation."""
    calibrate_on_test: bool = False
    """Calibrate on the test fold, as for the starred rows of the report; figures on that fold are then optimistic."""
    teacher_logits: Annotated[Path | None, cli.option("FILE")] = None
    """Also learn from these soft labels, a safetensors file with a tensor logits (docs/search.md); how much, and at
    which temperature, is in distillation.weight and distillation.temperature."""
    name: Annotated[str | None, cli.option("NAME")] = None
    """Name of the run; by default the recipe with date and time."""
    resume: Annotated[str | None, cli.option("NAME")] = None
    """Resume this run from its last checkpoint, with the config and data in its journal."""
    storage: Annotated[str, cli.option("DIR|s3://BUCKET/PREFIX")] = "runs"
    """Folder for runs and the MLflow store, or a bucket for runs only. With a bucket, runs/NAME is a working copy;
    any machine can continue from the bucket with --resume NAME."""
    cache: Annotated[Path | None, cli.option("DIR")] = None
    """Folder for packed audio; by default $ASC_CACHE or ~/.cache/asc."""
    mlflow_uri: Annotated[str | None, cli.option("URI")] = None
    """An MLflow server or database, or none; by default a database beside the run's folder."""
    quiet: bool = False
    """Print no progress: only results, and what went wrong."""
    json: bool = False
    """Print one JSON object on standard output."""

    def experiment(self, of_run: OfRun) -> Experiment:
        """Return the config that these options specify; `of_run` as in `experiment_from`.

        Raises:
            InputError: the config is wrong, or has no calibration to fit on the test fold.
        """
        given = {
            "schedule.cycles": self.cycles,
            "schedule.epochs_per_cycle": self.epochs_per_cycle,
            "schedule.cycle_growth": self.cycle_growth,
            "schedule.batch_size": self.batch_size,
            "seed": self.seed,
            "calibration.fit_on": "test" if self.calibrate_on_test else None,
        }
        chosen = self.network.experiment(of_run).updated(
            {key: value for key, value in given.items() if value is not None}
        )
        if self.calibrate_on_test and chosen.calibration.method == "none":
            raise InputError("--calibrate-on-test: the recipe has no calibration; take 8b_calibm or 8b_calibo")
        return chosen

    def run_name(self) -> str:
        """Return the given name, or one made of the recipe and the time."""
        recipe = Path(self.network.config or self.network.recipe or "qat_8b").stem
        return self.name or f"{recipe}-{time.strftime('%Y%m%d-%H%M%S')}"

    def check_resume(self) -> None:
        """Check that no option conflicts with the config and data in a resumed run's journal.

        Raises:
            InputError: an option is given that a resumed training cannot change.
        """
        given, fresh = _flat(self), _flat(TrainOptions())
        for key in given:
            if key not in ("resume", "storage", "cache", "mlflow_uri", "quiet", "json") and given[key] != fresh[key]:
                name = {"overrides": "set"}.get(key, key.replace("_", "-"))
                raise InputError(f"--{name} cannot change on --resume {self.resume}: leave it out")


def _flat(options: TrainOptions) -> dict[str, object]:
    own = {f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.name not in ("network", "data")}
    return {**dataclasses.asdict(options.network), **dataclasses.asdict(options.data), **own}
