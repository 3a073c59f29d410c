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
    """Open the run, train, print the figures of the stored network and what to do next."""
    import torch

    from asc.console import progress
    from asc.data.dataset import default_cache
    from asc.results import Completed
    from asc.run_files import BEST_FOLDER, MODEL_FILE
    from asc.runs import folder as runs
    from asc.runs import named, training_run
    from asc.runs.bucket import check_storage
    from asc.runs.mirror import mirrored
    from asc.tracking.address import check_uri
    from asc.tracking.session import browse, tracked

    output = cli.Output(as_json=options.json)
    check_uri(options.mlflow_uri)
    check_storage(options.storage)
    if options.resume:
        options.check_resume()
        journal = training_run.open_journal(runs.run_folder(options.storage, options.resume))
        experiment, choice = training_run.resumed(journal)
    else:
        experiment, choice = options.experiment(named.config), options.data.choice()
    with progress.packing(output.progress) as bar:
        dataset = training_run.open_data(choice, experiment, options.cache or default_cache(), bar)
    if not options.resume:
        experiment = experiment.updated({"architecture.classes": len(dataset.labels)})
        journal = training_run.open_journal(runs.new_run_folder(options.storage, options.run_name()))
        training_run.begin(journal, experiment, choice)
    folder, held_out = journal.path.parent, dataset.manifest.held_out
    history = training_run.known_epochs(journal)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    output.notes([*dataset.manifest.takes, *training_run.crop_notes(dataset, experiment.augment.crop_s)])
    output.say(f"training {folder.name} on {choice.spec}, {len(dataset.indices('train'))} clips, device {device}")
    with (
        tracked(journal, options.mlflow_uri, output.say),
        mirrored(journal, output.say),
        progress.EpochLines(output.progress, experiment, history=history, held_out=held_out) as lines,
    ):
        try:
            end = training_run.run(journal, experiment, dataset, device=device, on_epoch=lines)
        except KeyboardInterrupt:
            output.say(f"interrupted; resume with: {training_run.resume_command(folder)}")
            raise
    if not isinstance(end, Completed):
        output.say(f"{folder.name} diverged in epoch {end.epoch}: try a smaller schedule.learning_rate_max")
        return cli.FAILED
    for part in tables.training_end(end, held_out=held_out):
        output.result(part)
    model = folder / BEST_FOLDER / MODEL_FILE
    output.result(f"stored network: {model} ({end.stored.file_bytes:,} bytes, epoch {end.best_epoch})")
    output.result(training_run.next_step(model, choice))
    output.result(f"view it with: {browse(folder, options.mlflow_uri)}")
    marks = {"optimistic": end.optimistic, "held_out": held_out}
    output.json({"name": folder.name, "model": str(model), **marks, **dataclasses.asdict(end)})
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, TrainOptions)
