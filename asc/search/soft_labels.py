"""Makes the soft labels that the finals of a search learn from: each teacher hears each training clip once.

The logarithm of the teachers' mean probabilities is written into the run's folder, in the form of any file of teacher
logits (`asc.model_file.teacher_logits`). What each teacher says is kept until then, so a process that resumes the
search goes on with the next teacher. With `--teacher-logits` the file is checked and copied.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from asc.config.data_choice import DataChoice
from asc.data.dataset import open_dataset
from asc.data.manifest import Manifest, load_manifest
from asc.errors import InputError
from asc.evaluation.evaluate import Evaluator
from asc.model_file.artefact import load_model
from asc.model_file.teacher_logits import TeacherLogits, read_teacher_logits, write_teacher_logits
from asc.results import TeacherNetwork
from asc.run_files import SOFT_LABELS, SOFT_LABELS_FOLDER
from asc.runs.events import SoftLabelsMade
from asc.runs.journal import Journal
from asc.training.distill import check_teacher, share_right


def make(
    journal: Journal,
    teachers: dict[Path, TeacherNetwork],
    data: DataChoice,
    cache: Path,
    *,
    say: Callable[[str], None],
    until_s: float = float("inf"),
) -> bool:
    """Ask the teachers, given by their model files, write the soft labels, and journal that they are there.

    Returns False if `time.monotonic()` passes `until_s` before the last teacher is asked.

    Raises:
        InputError: a model file is missing or damaged.
        OSError: the disk is full.
    """
    folder = journal.path.parent
    heard: list[TeacherLogits] = []
    for number, (model, network) in enumerate(teachers.items(), start=1):
        if time.monotonic() >= until_s:
            return False
        said = folder / SOFT_LABELS_FOLDER / f"{network.name}.safetensors"
        if not said.is_file():
            say(f"teacher {number} of {len(teachers)}: {network} labels the training clips")
            write_teacher_logits(said, _asked(model, network, data, cache))
        heard.append(read_teacher_logits(said))
    _keep(journal, _together(heard, tuple(teachers.values())), load_manifest(data))
    shutil.rmtree(folder / SOFT_LABELS_FOLDER, ignore_errors=True)
    return True


def checked(path: Path, manifest: Manifest) -> TeacherLogits:
    """The teacher logits of a file, which have every training clip of the data.

    Raises:
        InputError: the file is wrong, or its labels or clips are not those of the data.
    """
    teacher = read_teacher_logits(path.expanduser())
    check_teacher(teacher, manifest)
    return teacher


def adopt(journal: Journal, teacher: TeacherLogits, manifest: Manifest) -> None:
    """Copy an outside teacher's logits into the run's folder, and journal that they are there."""
    _keep(journal, teacher, manifest)


def _keep(journal: Journal, teacher: TeacherLogits, manifest: Manifest) -> None:
    write_teacher_logits(journal.path.parent / SOFT_LABELS, teacher)
    taught = teacher.taught
    journal.append(
        SoftLabelsMade(
            teachers=taught.teachers,
            digest=taught.digest,
            clips=len(teacher.files),
            share_right=share_right(teacher, manifest),
        )
    )


def _asked(model: Path, network: TeacherNetwork, data: DataChoice, cache: Path) -> TeacherLogits:
    """What a stored network says of every training clip, whole and as it is."""
    stored, info = load_model(model)
    front_end = info.experiment.front_end
    dataset = open_dataset(data, sample_rate_hz=front_end.sample_rate_hz, cache=cache, splits=("train",))
    if dataset.labels != info.labels:
        raise InputError(f"{model} knows other labels than {data.spec}: put the file back as the search wrote it")
    logits, clips = Evaluator(dataset, "train", front_end, torch.device("cpu")).logits(stored)
    order = np.argsort(clips.numpy())
    return TeacherLogits(
        source=str(model),
        files=tuple(dataset.manifest.clips[clip].path for clip in clips.numpy()[order]),
        labels=info.labels,
        logits=logits[torch.from_numpy(order)].float().unsqueeze(0),
        teachers=(network,),
    )


def _together(heard: Sequence[TeacherLogits], teachers: tuple[TeacherNetwork, ...]) -> TeacherLogits:
    """The mean teacher."""
    every = replace(heard[0], logits=torch.cat([one.logits for one in heard]), teachers=teachers)
    return replace(every, logits=every.mean().unsqueeze(0))
