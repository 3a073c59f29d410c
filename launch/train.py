"""Train one network: a recipe or a config file, on one data set, with checkpoints, tracked like a search.

python launch/train.py --recipe qat_8b --data esc10:DIR --epochs-per-cycle 10
python launch/train.py --recipe 16b_prune --data tau2020:DIR
python launch/train.py --config runs/NAME/best/config.toml --data csv:FILE --cycles 3 --epochs-per-cycle 120
python launch/train.py --resume NAME
"""

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from asc import cli, tables
from asc.config import Experiment
from asc.errors import InputError
from asc.options import ConfigOptions, DataOptions

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
    storage: Annotated[Path, cli.option("DIR")] = Path("runs")
    """Folder in which runs and the MLflow store lie."""
    cache: Annotated[Path | None, cli.option("DIR")] = None
    """Where packed audio lies; by default $ASC_CACHE or ~/.cache/asc."""
    mlflow_uri: Annotated[str | None, cli.option("URI")] = None
    """An MLflow server or database, or none; by default a database under --storage."""
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


def main(options: Options) -> int:
    """Open the run, train, print the figures of the stored network and what to do next."""
    import torch

    from asc import progress, runs, training_run
    from asc.data.dataset import default_cache
    from asc.results import Completed
    from asc.tracking.address import check_uri
    from asc.tracking.session import browse, tracked

    output = cli.Output(as_json=options.json)
    check_uri(options.mlflow_uri)
    if options.resume:
        options.check_resume()
        journal = training_run.open_journal(runs.run_folder(options.storage, options.resume))
        experiment, choice = training_run.resumed(journal)
    else:
        experiment, choice = options.experiment(), options.data.choice()
    with progress.packing(output.progress) as bar:
        dataset = training_run.open_data(choice, experiment, options.cache or default_cache(), bar)
    if not options.resume:
        experiment = experiment.updated({"architecture.classes": len(dataset.labels)})
        journal = training_run.open_journal(runs.new_run_folder(options.storage, options.run_name()))
        training_run.begin(journal, experiment, choice)
    folder = journal.path.parent
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    output.say(f"training {folder.name} on {choice.spec}, {len(dataset.indices('train'))} clips, device {device}")
    with (
        tracked(journal, options.mlflow_uri, output.say),
        progress.EpochLines(output.progress, experiment.schedule) as lines,
    ):
        try:
            end = training_run.run(journal, experiment, dataset, device=device, on_epoch=lines)
        except KeyboardInterrupt:
            output.say(
                f"interrupted; go on with: python launch/train.py --resume {folder.name} --storage {options.storage}"
            )
            raise
    if not isinstance(end, Completed):
        output.say(f"{folder.name} diverged in epoch {end.epoch}: try a smaller schedule.learning_rate_max")
        return cli.FAILED
    for table in tables.evaluation_tables(end.evaluation):
        output.result(table)
    if end.calibration is not None:
        output.result(tables.calibration_text(end.calibration))
    model = folder / "best" / "model.safetensors"
    output.result(f"stored network: {model} ({end.stored.nonzero_bytes:,} bytes, epoch {end.best_epoch})")
    output.result(training_run.next_step(model, choice))
    output.result(f"look at it with: {browse(folder, options.mlflow_uri)}")
    output.json({"name": folder.name, "model": str(model), **dataclasses.asdict(end)})
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, Options)
