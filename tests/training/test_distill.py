"""Distillation: the loss against a plain computation, what a network learns from a teacher, and resuming."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from asc.config.distillation import Distillation
from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.errors import InputError
from asc.model_file.artefact import load_model
from asc.model_file.teacher_logits import TeacherLogits
from asc.model_file.tensors import read_tensors
from asc.results import TeacherNetwork
from asc.run_files import LAST_EPOCH, MODEL_FILE
from asc.training.augment import mixup
from asc.training.distill import check_teacher, share_right, soft_labels, summed_loss
from asc.training.train import train
from asc.training_results import Completed, EpochMetrics, Signal, Stopped, TrainingEnd

CPU = torch.device("cpu")


def perfect(dataset: Dataset, *, sure: float = 6.0) -> TeacherLogits:
    """A teacher that knows the label of every training clip, and finds like classes alike."""
    clips = dataset.indices("train").tolist()
    targets = torch.tensor([dataset.target(clip) for clip in clips])
    files = tuple(dataset.manifest.clips[clip].path for clip in clips)
    logits = sure * functional.one_hot(targets, 4).float()
    return TeacherLogits(
        source="perfect",
        files=files,
        labels=dataset.labels,
        logits=logits.unsqueeze(0),
        teachers=(TeacherNetwork(name="t003", kilobytes=31.26), TeacherNetwork(name="outside")),
    )


def run(
    experiment: Experiment,
    dataset: Dataset,
    folder: Path,
    teacher: TeacherLogits | None,
    *,
    stop_after: int | None = None,
) -> tuple[TrainingEnd, Sequence[EpochMetrics]]:
    heard: list[EpochMetrics] = []

    def report(metrics: EpochMetrics) -> Signal:
        heard.append(metrics)
        return Signal.STOP if metrics.epoch == stop_after else Signal.CONTINUE

    return train(experiment, dataset, folder=folder, on_epoch=report, device=CPU, teacher=teacher), heard


def test_the_share_of_right_labels_counts_the_training_clips_in_any_order_of_classes(tiny_dataset: Dataset) -> None:
    manifest, teacher = tiny_dataset.manifest, perfect(tiny_dataset)
    assert share_right(teacher, manifest) == 1.0
    backwards = replace(teacher, labels=teacher.labels[::-1], logits=teacher.logits.flip(2))
    assert share_right(backwards, manifest) == 1.0
    wrong = teacher.logits.clone()
    wrong[0, :9] = -wrong[0, :9]
    assert share_right(replace(teacher, logits=wrong), manifest) == pytest.approx(1 - 9 / len(teacher.files))


@pytest.mark.parametrize(("temperature", "weight"), [(2.0, 0.98), (1.0, 0.5), (4.0, 1.0), (3.0, 0.0)])
def test_the_loss_is_that_of_torch_on_mixed_labels(temperature: float, weight: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits, teacher = torch.randn(2, 5, 3, generator=generator).unbind()
    labels = functional.one_hot(torch.tensor([0, 2, 1, 1, 0]), 3).float()
    shares, partner = torch.tensor([1.0, 0.7, 0.2, 0.5, 0.9]), torch.tensor([1, 2, 3, 4, 0])
    _, targets = mixup(
        torch.zeros(5, 1),
        torch.cat([labels, torch.softmax(teacher / temperature, dim=1)], dim=1),
        weight=shares.double().numpy(),
        partner=partner.numpy(),
    )
    found = summed_loss(logits, targets, Distillation(temperature=temperature, weight=weight))
    expected = torch.zeros(())
    for row in range(5):
        other, share = int(partner[row]), float(shares[row])
        soft = [torch.softmax(teacher[one] / temperature, dim=0) for one in (row, other)]
        mixed = share * soft[0] + (1 - share) * soft[1]
        student = torch.log_softmax(logits[row] / temperature, dim=0)
        hard = -torch.log_softmax(logits[row], dim=0) @ (share * labels[row] + (1 - share) * labels[other])
        soft_loss = functional.kl_div(student, mixed, reduction="sum")
        expected = expected + weight * temperature**2 * soft_loss + (1 - weight) * hard
    torch.testing.assert_close(found, expected)
    assert torch.equal(summed_loss(logits, labels, None), functional.cross_entropy(logits, labels, reduction="sum")), (
        "without a teacher nothing changes"
    )


def test_soft_labels_belong_to_their_clips_and_no_other_clip_has_any(tiny_dataset: Dataset) -> None:
    teacher = perfect(tiny_dataset)
    backwards = replace(teacher, files=teacher.files[::-1], logits=teacher.logits.flip(1))
    soft = soft_labels(backwards, tiny_dataset, temperature=2.0)
    clips = tiny_dataset.indices("train")
    targets = torch.tensor([tiny_dataset.target(clip) for clip in clips.tolist()])
    assert torch.equal(soft[clips].argmax(dim=1), targets)
    torch.testing.assert_close(soft[clips].max(dim=1).values, torch.full((len(clips),), float(soft[clips[0]].max())))
    assert torch.equal(
        torch.isnan(soft).any(dim=1).nonzero().flatten(),
        torch.tensor(sorted(set(range(len(soft))) - set(clips.tolist()))),
    )


def test_a_network_learns_from_soft_labels_alone_and_says_who_taught_it(
    tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    """With weight 1 the labels do not enter the loss at all."""
    alone = tiny_experiment.updated({"distillation.weight": 1, "schedule.epochs_per_cycle": 8})
    end, heard = run(alone, tiny_dataset, tmp_path / "taught", perfect(tiny_dataset))
    assert isinstance(end, Completed) and end.evaluation.accuracy > 0.6, "four classes: chance is 0.25"
    assert heard[-1].train_loss < heard[0].train_loss
    _, info = load_model(tmp_path / "taught" / MODEL_FILE)
    assert info.experiment == alone and info.taught is not None
    assert info.taught.digest == perfect(tiny_dataset).taught.digest
    assert [str(network) for network in info.taught.teachers] == ["t003 (31.3 KB)", "outside"]
    run(alone, tiny_dataset, tmp_path / "plain", None, stop_after=1)
    end, _ = run(alone.updated({"schedule.epochs_per_cycle": 1}), tiny_dataset, tmp_path / "short", None)
    assert isinstance(end, Completed)
    assert (tmp_path / "short" / MODEL_FILE).stat().st_size == (tmp_path / "taught" / MODEL_FILE).stat().st_size
    assert load_model(tmp_path / "short" / MODEL_FILE)[1].taught is None


def test_the_wrong_teacher_teaches_wrongly(tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path) -> None:
    """A teacher that takes each class for the next one: its pupil does, too, although the labels have a small share."""
    wrong = perfect(tiny_dataset)
    wrong = replace(wrong, logits=wrong.logits.roll(1, dims=2))
    _, heard = run(tiny_experiment.updated({"schedule.epochs_per_cycle": 8}), tiny_dataset, tmp_path, wrong)
    assert heard[-1].valid_accuracy < 0.25, "four classes: chance is 0.25"


def test_a_resumed_training_equals_an_uninterrupted_one_and_another_teacher_is_refused(
    tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    teacher = perfect(tiny_dataset)
    _, heard = run(tiny_experiment, tiny_dataset, tmp_path / "whole", teacher)
    stopped, _ = run(tiny_experiment, tiny_dataset, tmp_path / "parts", teacher, stop_after=2)
    assert stopped == Stopped(epoch=2)
    for other in (None, perfect(tiny_dataset, sure=5.0)):
        with pytest.raises(InputError, match="last.safetensors is of another teacher, or of none: give the same"):
            run(tiny_experiment, tiny_dataset, tmp_path / "parts", other)
    _, again = run(tiny_experiment, tiny_dataset, tmp_path / "parts", teacher)
    assert [metrics.train_loss for metrics in heard] == [metrics.train_loss for metrics in again]
    assert (tmp_path / "whole" / MODEL_FILE).read_bytes() == (tmp_path / "parts" / MODEL_FILE).read_bytes()
    (expected, _), (found, _) = (read_tensors(tmp_path / name / LAST_EPOCH) for name in ("whole", "parts"))
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    run(tiny_experiment, tiny_dataset, tmp_path / "plain", None, stop_after=1)
    assert "teacher" not in read_tensors(tmp_path / "plain" / LAST_EPOCH)[1], "without one it stays as it was"


def test_a_teacher_that_lacks_a_training_clip_or_knows_other_labels_is_refused(
    tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    teacher = perfect(tiny_dataset)
    check_teacher(teacher, tiny_dataset.manifest)
    short = replace(teacher, files=teacher.files[1:], logits=teacher.logits[:, 1:])
    others = replace(teacher, labels=("a", "b", "c", "d"))
    for wrong, sentence in ((short, "perfect: files lacks 1 of "), (others, "perfect: labels are a, b, c, d, but")):
        with pytest.raises(InputError, match=sentence):
            check_teacher(wrong, tiny_dataset.manifest)
        with pytest.raises(InputError, match=sentence):
            run(tiny_experiment, tiny_dataset, tmp_path, wrong)
