"""Learning from the soft labels of teachers: knowledge distillation (Hinton et al. 2015, arXiv 1503.02531).

Teachers are asked once per clip, about the whole clip as it is. A mixed row has the mixed soft labels of its clips, as
it has their mixed labels. `asc.config.distillation` has the loss, its temperature and its weight.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from asc.config.distillation import Distillation
from asc.data.dataset import Dataset
from asc.data.manifest import Manifest
from asc.model_file.teacher_logits import TeacherLogits


def soft_labels(teacher: TeacherLogits, dataset: Dataset, temperature: float) -> Tensor:
    """The teachers' probabilities at a temperature for all clips of a data set, (clips, classes) float32.

    Rows of clips that are not trained on are NaN: nothing may read them.

    Raises:
        InputError: a training clip has no logits, or the labels are others.
    """
    clips = torch.from_numpy(dataset.indices("train"))
    logits = teacher.of([dataset.manifest.clips[clip].path for clip in clips.tolist()], dataset.labels)
    every = torch.full((len(dataset.manifest.clips), len(dataset.labels)), torch.nan)
    every[clips] = torch.softmax(logits / temperature, dim=1)
    return every


def check_teacher(teacher: TeacherLogits, manifest: Manifest) -> None:
    """Check that the teachers know the labels of the data, and every clip that is trained on.

    Raises:
        InputError: they do not.
    """
    share_right(teacher, manifest)


def share_right(teacher: TeacherLogits, manifest: Manifest) -> float:
    """The share of the clips that are trained on whose label the teachers give together, from 0 to 1.

    Raises:
        InputError: as `check_teacher`.
    """
    trained = [clip for clip in manifest.clips if clip.split == "train" or not manifest.held_out]
    logits = teacher.of([clip.path for clip in trained], manifest.labels)
    given = [manifest.labels[label] for label in logits.argmax(dim=1).tolist()]
    right = [label == clip.label for label, clip in zip(given, trained, strict=True)]
    return float(np.mean(right))


def summed_loss(logits: Tensor, targets: Tensor, distillation: Distillation | None) -> Tensor:
    """The loss of a batch in nats, summed over rows: cross-entropy, or with `distillation` what that says.

    `logits` are (batch, classes). `targets` are probabilities of the same shape, or with soft labels
    (batch, 2 x classes): first the labels, then the teachers' probabilities at the temperature.
    """
    if distillation is None:
        return functional.cross_entropy(logits, targets, reduction="sum")
    labels, soft = targets.chunk(2, dim=1)
    temperature, weight = distillation.temperature, distillation.weight
    student = torch.log_softmax(logits / temperature, dim=1)
    divergence = functional.kl_div(student, soft, reduction="sum")
    # The gradients of soft labels shrink as 1 / T^2, so the factor keeps the weight's meaning (section 2 of the paper).
    hard = functional.cross_entropy(logits, labels, reduction="sum")
    return weight * temperature**2 * divergence + (1 - weight) * hard
