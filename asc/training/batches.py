"""The batches of a training: which there are in an epoch, what makes them, and their audio, read ahead."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.data.impulse_response import Response
from asc.data.response_bank import check_reference, read_bank
from asc.model_file.teacher_logits import TeacherLogits
from asc.training.augment import Batcher, BatchPlan, plan_epoch
from asc.training.distill import soft_labels


def batcher(
    experiment: Experiment, dataset: Dataset, device: torch.device, teacher: TeacherLogits | None = None
) -> Batcher:
    """What makes the batches of a training.

    Raises:
        InputError: the config asks for impulse responses, which the data lack, or the teacher lacks a training clip.
    """
    temperature = experiment.distillation.temperature
    return Batcher(
        dataset,
        experiment.augment,
        experiment.front_end.sample_rate_hz,
        device,
        responses=_responses(experiment, dataset),
        soft_labels=None if teacher is None else soft_labels(teacher, dataset, temperature),
    )


def _responses(experiment: Experiment, dataset: Dataset) -> tuple[Response, ...]:
    """The microphones that training puts on clips of the reference device; none if the config does not ask for any."""
    if experiment.augment.impulse_response_p == 0:
        return ()
    check_reference(dataset.manifest)
    return read_bank(dataset.manifest.choice.response_bank)


def plans_of(experiment: Experiment, dataset: Dataset, *, epoch: int) -> list[BatchPlan]:
    """The batches of an epoch, counted from 0."""
    return plan_epoch(
        dataset.indices("train"),
        seed=experiment.seed,
        epoch=epoch,
        batch_size=experiment.schedule.batch_size,
        augment=experiment.augment,
    )


def ahead(batcher: Batcher, plans: list[BatchPlan]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches in order; the next one's audio is read while the current one is trained on."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        pending = reader.submit(batcher.load, plans[0])
        for following in [*plans[1:], None]:
            loaded = pending.result()
            if following is not None:
                pending = reader.submit(batcher.load, following)
            yield batcher.transform(loaded)
