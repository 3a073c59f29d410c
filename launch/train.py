"""Train one network: a recipe or a config file, on one data set, with checkpoints, tracked like a search.

python launch/train.py --recipe qat_8b --data esc10:DIR --epochs-per-cycle 10
python launch/train.py --config runs/NAME/best/config.toml --data csv:FILE --cycles 3 --epochs-per-cycle 120
python launch/train.py --resume NAME
"""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from asc import cli, tables
from asc.config import Experiment
from asc.errors import InputError
from asc.recipes.loading import experiment_from


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train one config from start to end, or go on with a training that was cut off."""

    recipe: Annotated[str | None, cli.option("NAME")] = None
    """A shipped recipe; without --config it is qat_8b, the report's reference."""
    config: Annotated[str | None, cli.option("FILE")] = None
    """A config in TOML, such as runs/NAME/best/config.toml of a search."""
    overrides: Annotated[
        tuple[str, ...], tyro.conf.arg(name="set", metavar="KEY=VALUE"), tyro.conf.UseAppendAction
    ] = ()
    """Change a value of the config; may be given several times."""
    data: Annotated[str, cli.option("SPEC")] = "synthetic"
    """synthetic, esc10:DIR, csv:FILE or folder:DIR."""
    fold: int = 1
    """The test fold, which training never sees, where the data have folds."""
    data_seed: int = 0
    """Draws the validation and calibration clips."""
    cycles: Annotated[int | None, cli.option("N")] = None
    """Learning rate cycles (schedule.cycles; the report has 3)."""
    epochs_per_cycle: Annotated[int | None, cli.option("N")] = None
    """Epochs of a cycle (schedule.epochs_per_cycle; the report has 120)."""
    batch_size: Annotated[int | None, cli.option("N")] = None
    """Clips of a batch (schedule.batch_size; the report has 64, small data sets want 8 to 16)."""
    seed: Annotated[int | None, cli.option("N")] = None
    """Decides the initial weights, the order of clips and the augmentation."""
    name: Annotated[str | None, cli.option("NAME")] = None
    """Name of the run; by default the recipe with date and time."""
    resume: Annotated[str | None, cli.option("NAME")] = None
    """Go on with this run from its last checkpoint; its config and data are taken from its journal."""
    storage: Annotated[Path, cli.option("DIR")] = Path("runs")
    """Where runs and the MLflow store lie."""
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
        }
        chosen = experiment_from(recipe=self.recipe, config=self.config, overrides=self.overrides)
        return chosen.updated({key: value for key, value in given.items() if value is not None})

    def check_resume(self) -> None:
        """Raise InputError for options that a resumed training cannot take: its config and data are journalled."""
        fresh = Options()
        kept = ("resume", "storage", "cache", "mlflow_uri", "json")
        for field in dataclasses.fields(self):
            if field.name not in kept and getattr(self, field.name) != getattr(fresh, field.name):
                name = {"overrides": "set"}.get(field.name, field.name.replace("_", "-"))
                raise InputError(f"--{name} cannot change on --resume {self.resume}: leave it out")


def main(options: Options) -> int:
    """Open the run, train, print the figures of the stored network and what to do next."""
    import torch

    from asc import progress, runs, training_run
    from asc.data.choice import DataChoice
    from asc.data.dataset import default_cache, open_dataset
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
        experiment = options.experiment()
        choice = DataChoice(options.data, fold=options.fold, data_seed=options.data_seed)
    with progress.packing(output.progress) as bar:
        dataset = open_dataset(
            choice,
            sample_rate_hz=experiment.front_end.sample_rate_hz,
            cache=options.cache or default_cache(),
            splits=("train", "valid"),
            progress=bar,
        )
    if not options.resume:
        experiment = experiment.updated({"architecture.classes": len(dataset.labels)})
        name = (
            options.name
            or f"{Path(options.config or options.recipe or 'qat_8b').stem}-{time.strftime('%Y%m%d-%H%M%S')}"
        )
        journal = training_run.open_journal(runs.new_run_folder(options.storage, name))
        training_run.begin(journal, experiment, choice)
    folder = journal.path.parent
    lines = progress.EpochLines(output.progress, experiment.schedule.epochs)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    output.say(f"training {folder.name} on {choice.spec}, {len(dataset.indices('train'))} clips, device {device}")
    with tracked(journal, options.mlflow_uri, output.say):
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
    model = folder / "best" / "model.safetensors"
    output.result(f"stored network: {model} ({end.stored.nonzero_bytes:,} bytes, epoch {end.best_epoch})")
    output.result(f"next: python launch/evaluate.py {model} --data {choice.spec} --split test")
    output.result(f"look at it with: {browse(folder, options.mlflow_uri)}")
    output.json({"name": folder.name, "model": str(model), **dataclasses.asdict(end)})
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, Options)
