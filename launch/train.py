"""Train one network from a recipe or a config file on one data set, with checkpoints, tracked like a search.

python launch/train.py --recipe qat_8b --data esc10:DIR --epochs-per-cycle 10
python launch/train.py --recipe 16b_prune --data tau2020:DIR
python launch/train.py --config runs/NAME/best/config.toml --data csv:FILE --cycles 3 --epochs-per-cycle 120
python launch/train.py --resume NAME
"""

import dataclasses

from asc.console import cli, tables
from asc.console.train_options import TrainOptions


def main(options: TrainOptions) -> int:
    """Train, print the figures of the stored network and what to do next."""
    from asc.api import training
    from asc.run_files import BEST_FOLDER, MODEL_FILE
    from asc.runs import training_run
    from asc.tracking.session import browse
    from asc.training_results import Completed

    output = cli.Output(as_json=options.json, quiet=options.quiet)
    run = training.trained(options, output)
    folder, end = run.folder, run.end
    if not isinstance(end, Completed):
        output.alert(training.diverged(folder, end.epoch))
        return cli.FAILED
    for part in tables.training_end(end, held_out=run.held_out):
        output.result(part)
    model = folder / BEST_FOLDER / MODEL_FILE
    output.result(f"stored network: {model} ({end.stored.file_bytes:,} bytes, epoch {end.best_epoch})")
    output.result(training_run.next_step(model, run.choice))
    output.result(f"view it with: {browse(folder, options.mlflow_uri)}")
    marks = {"optimistic": end.optimistic, "held_out": run.held_out}
    output.json({"name": folder.name, "model": str(model), **marks, **dataclasses.asdict(end)})
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, TrainOptions)
