"""Soft labels of real networks: each is asked once, what they said is averaged, and a killed process goes on."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.errors import InputError
from asc.evaluation.evaluate import Evaluator
from asc.model_file.artefact import load_model
from asc.model_file.teacher_logits import read_teacher_logits, write_teacher_logits
from asc.results import TeacherNetwork
from asc.run_files import MODEL_FILE, SOFT_LABELS, SOFT_LABELS_FOLDER
from asc.runs.events import SoftLabelsMade
from asc.runs.journal import Journal
from asc.search import soft_labels
from asc.training.train import train
from asc.training_results import Completed

CPU = torch.device("cpu")


@pytest.fixture
def teachers(
    tiny_model: Path, tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path
) -> dict[Path, TeacherNetwork]:
    """Two networks: the tiny one, and one that was hardly trained and hears other bands."""
    other = tiny_experiment.updated({"schedule.epochs_per_cycle": 1, "front_end.mel_bands": 20})
    end = train(other, tiny_dataset, folder=tmp_path / "other", on_epoch=lambda metrics: None, device=CPU)  # type: ignore[arg-type, return-value]
    assert isinstance(end, Completed)
    return {
        tiny_model: TeacherNetwork(name="t001", kilobytes=2.5),
        tmp_path / "other" / MODEL_FILE: TeacherNetwork(name="teacher-seed1", kilobytes=3.0),
    }


def make(journal: Journal, teachers: dict[Path, TeacherNetwork], dataset: Dataset, cache: Path, **options: Any) -> bool:
    return soft_labels.make(journal, teachers, dataset.manifest.choice, cache, say=options.pop("say", print), **options)


def test_the_soft_labels_are_the_mean_probabilities_of_all_teachers(
    teachers: dict[Path, TeacherNetwork], tiny_dataset: Dataset, tiny_cache: Path, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "run" / "journal.jsonl")
    assert make(journal, teachers, tiny_dataset, tiny_cache)
    found = read_teacher_logits(tmp_path / "run" / SOFT_LABELS)
    clips = tiny_dataset.indices("train")
    assert found.files == tuple(tiny_dataset.manifest.clips[clip].path for clip in clips)
    expected = torch.zeros(len(clips), 4, dtype=torch.float64)
    for model in teachers:
        network, info = load_model(model)
        logits, of = Evaluator(tiny_dataset, "train", info.experiment.front_end, CPU).logits(network)
        expected += torch.softmax(logits, dim=1)[np.argsort(of.numpy())] / 2
    torch.testing.assert_close(torch.softmax(found.logits[0].double(), dim=1), expected, rtol=1e-5, atol=1e-6)
    (entry,) = journal.entries
    targets = torch.tensor([tiny_dataset.target(clip) for clip in clips])
    assert entry.event == SoftLabelsMade(
        teachers=tuple(teachers.values()),
        digest=found.taught.digest,
        clips=len(clips),
        share_right=float((expected.argmax(dim=1) == targets).double().mean()),
    )
    assert not (tmp_path / "run" / SOFT_LABELS_FOLDER).exists()


def test_a_process_that_goes_on_asks_no_teacher_twice(
    teachers: dict[Path, TeacherNetwork], tiny_dataset: Dataset, tiny_cache: Path, tmp_path: Path
) -> None:
    whole, parts = (Journal(tmp_path / name / "journal.jsonl") for name in ("whole", "parts"))
    assert make(whole, teachers, tiny_dataset, tiny_cache)
    first = dict(list(teachers.items())[:1])
    assert not make(parts, first, tiny_dataset, tiny_cache, until_s=0.0) and not parts.entries, "time is up"

    def killed(said: str) -> None:
        if said.startswith("teacher 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(parts, teachers, tiny_dataset, tiny_cache, say=killed)
    assert [path.name for path in (tmp_path / "parts" / SOFT_LABELS_FOLDER).iterdir()] == ["t001.safetensors"]
    heard: list[str] = []
    assert make(parts, teachers, tiny_dataset, tiny_cache, say=heard.append)
    assert heard == ["teacher 2 of 2: teacher-seed1 (3.0 KB) labels the training clips"]
    made, expected = (read_teacher_logits(one.path.parent / SOFT_LABELS) for one in (parts, whole))
    assert made.taught == expected.taught


def test_an_outside_teachers_file_is_checked_and_copied(
    teachers: dict[Path, TeacherNetwork], tiny_dataset: Dataset, tiny_cache: Path, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "run" / "journal.jsonl")
    make(journal, teachers, tiny_dataset, tiny_cache)
    given = tmp_path / "outside.safetensors"
    teacher = read_teacher_logits(tmp_path / "run" / SOFT_LABELS)
    write_teacher_logits(given, teacher)
    adopted = Journal(tmp_path / "adopted" / "journal.jsonl")
    manifest = tiny_dataset.manifest
    soft_labels.adopt(adopted, soft_labels.checked(given, manifest), manifest)
    assert read_teacher_logits(tmp_path / "adopted" / SOFT_LABELS).taught == teacher.taught
    assert adopted.entries[0].event == journal.entries[0].event
    write_teacher_logits(given, dataclasses.replace(teacher, labels=("a", "b", "c", "d")))
    with pytest.raises(InputError, match="outside.safetensors: labels are a, b, c, d, but the data have down_fast"):
        soft_labels.checked(given, tiny_dataset.manifest)
