"""A single training as a run, with a journal, checkpoints and, at the end, `best/`; launch/train.py starts it."""

import contextlib
import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.data.dataset import Dataset, open_dataset
from asc.errors import InputError, machine_fault
from asc.launchers import command
from asc.model_file.teacher_logits import TeacherLogits
from asc.results import Split
from asc.run_files import BEST_EPOCH, JOURNAL, LAST_EPOCH, MODEL_FILE
from asc.runs.events import EpochDone, RunEnded, RunResumed, RunStarted, TrialAsked, TrialEnded
from asc.runs.folder import git_commit, publish
from asc.runs.journal import Journal
from asc.runs.record import RunRecord, fold
from asc.runs.storage import storage_option
from asc.size.law import cost
from asc.training.compress import targets_and_groups
from asc.training.train import train
from asc.training_results import Completed, Diverged, EpochMetrics, Signal, TrainingEnd
from asc.typed import Scalar, build

if TYPE_CHECKING:
    import torch

TRIAL = "t000"
_TEACHER = "teacher_logits"


def open_data(
    choice: DataChoice, experiment: Experiment, cache: Path, progress: Callable[[int, int], None] | None = None
) -> Dataset:
    """Open the splits that a training needs: train, valid and, if it is calibrated, the calibration split.

    Raises:
        InputError: as `open_dataset`; or a calibration is asked for but every clip is trained on, or there are too few
            clips for it.
    """
    calibration = experiment.calibration
    if calibration.method != "none" and choice.part == "all":
        raise InputError(
            f"calibration.method is {calibration.method}, but --split all leaves no clip that was not trained on: "
            "take a recipe without calibration, or leave --split all out"
        )
    fitted: tuple[Split, ...] = () if calibration.method == "none" else (calibration.fit_on,)
    dataset = open_dataset(
        choice,
        sample_rate_hz=experiment.front_end.sample_rate_hz,
        cache=cache,
        splits=("train", "valid", *fitted),
        progress=progress,
    )
    for split in fitted:
        from asc.training.calibrate import check_clips  # as in asc/training/compress.py: imported only when needed

        check_clips(*targets_and_groups(dataset, dataset.indices(split).tolist()))
    return dataset


def crop_notes(dataset: Dataset, crop_s: float) -> list[str]:
    """A warning if every clip that is trained on is clearly shorter than a crop of `crop_s` seconds, or nothing.

    Crops are filled up with silence, but whole clips are classified without it. Where means are taken over time, the
    network then hears something else than it was trained on.
    """
    longest_s = max(dataset.samples(int(i)) for i in dataset.indices("train")) / dataset.sample_rate_hz
    if crop_s <= 1.1 * longest_s:
        return []
    return [
        f"augment.crop_s is {crop_s:g} s, but no clip is longer than {longest_s:.1f} s: crops end in silence that "
        f"the clips do not have, so the network may learn little; make it at most {longest_s:.1f}"
    ]


def next_step(model: Path, choice: DataChoice) -> str:
    """One line that says what to do next with a trained model."""
    if choice.part == "all":
        return f"next: {model} was trained on every clip of {choice.spec}, so evaluate it on other data only"
    return f"next: {command('evaluate')} {model} --data {choice.spec} --split test"


def known_epochs(journal: Journal) -> list[EpochMetrics]:
    """The epochs in the journal of a training, in order."""
    return [metrics for _, metrics in sorted(fold(journal.entries).trials[TRIAL].epochs.items())]


def begin(journal: Journal, experiment: Experiment, choice: DataChoice, teacher_logits: Path | None = None) -> None:
    """Journal the start of a new run: its data, its teacher's file if it has one, and its config as its only trial."""
    chosen = dataclasses.asdict(choice)
    settings: dict[str, Scalar] = {"data": chosen.pop("spec"), **{k: v for k, v in chosen.items() if v is not None}}
    if teacher_logits is not None:
        settings[_TEACHER] = str(teacher_logits.expanduser().resolve())
    name = journal.path.parent.name
    journal.append(RunStarted(name=name, kind="train", settings=settings, git_commit=git_commit()))
    size = cost(experiment)
    journal.append(
        TrialAsked(
            trial=TRIAL,
            title=name,
            point=None,
            config=experiment.flat(),
            repaired=False,
            **dataclasses.asdict(size.stored),
            macs_per_second=size.macs_per_second,
            peak_activation_bytes=size.peak_activation_bytes,
        )
    )


def resumed(journal: Journal) -> tuple[Experiment, DataChoice]:
    """The config and data of a run to resume. If it was killed just after its training, it is ended here instead.

    Raises:
        InputError: the run is not a training, was interrupted before its config was journalled, or has ended.
    """
    record, folder = fold(journal.entries), journal.path.parent
    if record.started.kind != "train":
        raise InputError(f"{folder} is not a training: resume a search with {command('search')}")
    if TRIAL not in record.trials:
        raise InputError(f"{folder} was interrupted before it began: start it again under another --name")
    ended = record.trials[TRIAL].ended
    if ended is not None:
        if record.ended is None:
            _close(journal, completed=ended.outcome == "completed")
        raise InputError(f"{folder} has ended ({ended.outcome}): start a new training under another --name")
    settings = dict(record.started.settings)
    settings.pop(_TEACHER, None)
    choice = build(DataChoice, {"spec": settings.pop("data"), **settings})
    return Experiment.from_flat(record.trials[TRIAL].asked.config), choice


def teacher_logits_of(journal: Journal) -> Path | None:
    """The file of the teacher of a run, as its journal has it; None without a teacher."""
    given = fold(journal.entries).started.settings.get(_TEACHER)
    return None if given is None else Path(str(given))


def run(
    journal: Journal,
    experiment: Experiment,
    dataset: Dataset,
    *,
    device: "torch.device",
    on_epoch: Callable[[EpochMetrics], None],
    teacher: TeacherLogits | None = None,
) -> TrainingEnd:
    """Train, journal every epoch and the end, and publish the model under `best/`.

    Raises:
        InputError: as `train`; or a fault of the machine, such as a full disk, ended it; the message says how to
            resume.
    """
    folder, known = journal.path.parent, fold(journal.entries)
    if known.trials[TRIAL].epochs or known.ended is not None:
        journal.append(RunResumed(settings={}))

    def journalled(metrics: EpochMetrics) -> Signal:
        if metrics.epoch not in known.trials[TRIAL].epochs:
            journal.append(EpochDone(trial=TRIAL, metrics=metrics, checkpoint=LAST_EPOCH))
            on_epoch(metrics)
        return Signal.CONTINUE

    try:
        end = train(experiment, dataset, folder=folder, on_epoch=journalled, device=device, teacher=teacher)
        if isinstance(end, Completed):
            publish(folder, folder / MODEL_FILE)
        journal.append(_ended(end, fold(journal.entries)))
        _close(journal, completed=isinstance(end, Completed))
    except KeyboardInterrupt:
        journal.append(RunEnded(outcome="interrupted", best=None))
        raise
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        with contextlib.suppress(OSError):  # the journal may be on the full disk
            journal.append(RunEnded(outcome="interrupted", best=None))
        raise InputError(f"{fault}; then resume with: {resume_command(folder)}") from error
    return end


def resume_command(folder: Path) -> str:
    """The command line that resumes a training."""
    return f"{command('train')} --resume {shlex.quote(folder.name)}{storage_option(folder)}"


def _close(journal: Journal, *, completed: bool) -> None:
    for leftover in (LAST_EPOCH, BEST_EPOCH, MODEL_FILE):
        (journal.path.parent / leftover).unlink(missing_ok=True)
    journal.append(RunEnded(outcome="finished", best=TRIAL if completed else None))


def open_journal(folder: Path) -> Journal:
    """Open the journal in a run's folder."""
    return Journal(folder / JOURNAL)


def _ended(end: TrainingEnd, record: RunRecord) -> TrialEnded:
    epochs = record.trials[TRIAL].epochs
    seconds = sum(metrics.seconds for metrics in epochs.values())
    if isinstance(end, Completed):
        return TrialEnded(
            trial=TRIAL,
            outcome="completed",
            epochs=end.epochs,
            seconds=seconds,
            log_loss=end.evaluation.log_loss,
            accuracy=end.evaluation.accuracy,
            built=end.stored,
            calibrated=end.calibration.applied if end.calibration else None,
            optimistic=end.optimistic,
            model="best/model.safetensors",
        )
    if isinstance(end, Diverged):
        reason = f"the loss was no longer a number in epoch {end.epoch}: try a smaller schedule.learning_rate_max"
        return TrialEnded(trial=TRIAL, outcome="diverged", epochs=end.epoch, seconds=seconds, reason=reason)
    return TrialEnded(trial=TRIAL, outcome="stopped", epochs=end.epoch, seconds=seconds, reason="stopped by its report")
