"""A training from its options to its stored network, for launch/train.py and for `asc.train`."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from asc.config import data_guess
from asc.config.data_choice import DataChoice
from asc.console import progress
from asc.console.cli import Output
from asc.console.train_options import TrainOptions
from asc.data.dataset import default_cache
from asc.data.manifest import load_manifest
from asc.model_file.teacher_logits import read_teacher_logits
from asc.results import wrong_teachers
from asc.runs import folder as runs
from asc.runs import named, training_run
from asc.runs.mirror import mirrored
from asc.runs.storage import check_storage
from asc.tracking.address import check_uri
from asc.tracking.session import tracked
from asc.training.distill import share_right
from asc.training_results import TrainingEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A training that has ended, in its run's folder. `held_out`: validation clips were not trained on."""

    folder: Path
    choice: DataChoice
    held_out: bool
    end: TrainingEnd


def trained(options: TrainOptions, output: Output) -> Trained:
    """Open the run, pack the audio if need be, and train; each epoch is a line of progress.

    Raises:
        InputError: an option, the config or the data is wrong, or a fault of the machine ended the training.
    """
    check_uri(options.mlflow_uri)
    check_storage(options.storage)
    if options.resume:
        options.check_resume()
        journal = training_run.open_journal(runs.run_folder(options.storage, options.resume))
        experiment, choice = training_run.resumed(journal)
        logits = training_run.teacher_logits_of(journal)
    else:
        experiment, choice = options.experiment(named.config), options.data.choice()
        logits = options.teacher_logits
    teacher = None if logits is None else read_teacher_logits(logits.expanduser())
    right = 1.0 if teacher is None else share_right(teacher, load_manifest(choice))  # before anything is packed
    with progress.packing(output.progress) as bar:
        dataset = training_run.open_data(choice, experiment, options.cache or default_cache(), bar)
    if not options.resume:
        experiment = experiment.updated({"architecture.classes": len(dataset.labels)})
        journal = training_run.open_journal(runs.new_run_folder(options.storage, options.run_name()))
        training_run.begin(journal, experiment, choice, logits)
    folder, held_out = journal.path.parent, dataset.manifest.held_out
    history = training_run.known_epochs(journal)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    guess = data_guess.note(None if options.resume else options.data.data)
    groups = named.lacking_groups(options.network.config, choice)
    notes = *guess, *groups, *dataset.manifest.warnings, *training_run.crop_notes(dataset, experiment.augment.crop_s)
    output.notes([*notes, *filter(None, [wrong_teachers(right)])])
    output.say(f"training {folder.name} on {choice.spec}, {len(dataset.indices('train'))} clips, device {device}")
    with (
        closing(journal),  # so that this process may go on with the run
        tracked(journal, options.mlflow_uri, output.alert),
        mirrored(journal, output.alert),
        progress.EpochLines(output.progress, experiment, history=history, held_out=held_out) as lines,
    ):
        try:
            end = training_run.run(journal, experiment, dataset, device=device, on_epoch=lines, teacher=teacher)
        except KeyboardInterrupt:
            output.alert(f"interrupted; resume with: {training_run.resume_command(folder)}")
            raise
    return Trained(folder=folder, choice=choice, held_out=held_out, end=end)


def diverged(folder: Path, epoch: int) -> str:
    """One sentence for a training whose loss was no longer a number in this epoch."""
    return f"{folder.name} diverged in epoch {epoch}: try a smaller schedule.learning_rate_max"
