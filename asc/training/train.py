"""The only training loop: config and data in, stored network and its figures out.

Adam with cyclic learning rates (`learning_rate.py`) minimises soft cross-entropy on mixed crops (technical report,
section 2.1). If there is a teacher, the network learns from its soft labels too (`distill.py`). Training is
quantisation-aware for 8-bit storage (section 3.1), and prunes after the first cycle if the config says so (section
3.3). It does not depend on searches or trackers: it calls `on_epoch` after every epoch, which may stop it. Several
workers can run it together, each on a part of every batch (Li et al. 2020, https://arxiv.org/abs/2006.15704), with the
same losses, equal weights and one set of files.
"""

import contextlib
import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LRScheduler

from asc.audio.frontend import LogMel
from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.errors import InputError
from asc.evaluation.evaluate import Evaluator
from asc.model_file.artefact import check_room, save_model
from asc.model_file.model_info import DataIdentity, ModelInfo
from asc.model_file.teacher_logits import TeacherLogits
from asc.models.build import build_network
from asc.models.network import Network
from asc.models.stored import empty
from asc.models.workers import ALONE, Workers
from asc.results import Taught
from asc.run_files import MODEL_FILE
from asc.size.stored_items import stored_items
from asc.training import prune
from asc.training.adam import Adam
from asc.training.augment import Batcher
from asc.training.augmentations.maps import changed_maps
from asc.training.band_statistics import measure_bands
from asc.training.batches import ahead, batcher, plans_of
from asc.training.checkpoint import Checkpoints, Progress
from asc.training.compress import calibrated, check_items, compressed
from asc.training.distill import summed_loss
from asc.training.learning_rate import cyclic
from asc.training.memory import kept_memory
from asc.training_results import Completed, Diverged, EpochMetrics, OnEpoch, Signal, Stopped, TrainingEnd


def train(
    experiment: Experiment,
    dataset: Dataset,
    *,
    folder: Path,
    on_epoch: OnEpoch,
    device: torch.device,
    workers: Workers = ALONE,
    teacher: TeacherLogits | None = None,
) -> TrainingEnd:
    """Train to the end of the schedule, resuming from `folder`'s checkpoint if there is one; store the best network.

    `on_epoch` is called once for each epoch of the schedule, including those in the checkpoint. The network of the
    epoch with the lowest validation log loss (after pruning) is turned into its stored form, evaluated and written to
    `folder/model.safetensors`. A final model on all data (`DataChoice.part`) has no clips to choose an epoch by, so its
    last epoch is stored.

    With a `teacher` the network also learns from its soft labels, as `experiment.distillation` says.

    Every worker of a distributed training calls this, with a folder that all share; only the leading worker writes.
    `on_epoch` is called on all workers, and a stop on one of them ends the training of all.

    Raises:
        InputError: the data do not fit the config, the label names do not fit into the header of a model file, or the
            checkpoint belongs to another experiment, or the teacher's logits lack a training clip.
        RuntimeError: workers see different checkpoints; if a shared folder is slow to update, try again.
        OSError: a file cannot be written, such as on a full disk; the last complete checkpoint is kept.
    """
    if experiment.architecture.classes != len(dataset.labels):
        raise InputError(
            f"architecture.classes is {experiment.architecture.classes}, but {dataset.manifest.spec} has "
            f"{len(dataset.labels)} labels: set architecture.classes={len(dataset.labels)}"
        )
    check_room(experiment, tuple(dataset.labels), _identity(dataset), None if teacher is None else teacher.taught)
    with _deterministic(), kept_memory():
        return _to_the_end(_Run.start(experiment, dataset, folder, device, workers, teacher), on_epoch)


def _to_the_end(run: "_Run", on_epoch: OnEpoch) -> TrainingEnd:
    workers, schedule = run.workers, run.experiment.schedule
    for metrics in run.progress.history:
        if workers.any(on_epoch(metrics) is Signal.STOP):
            return Stopped(epoch=metrics.epoch)
    while len(run.progress.history) < schedule.epochs:
        metrics_or_none = run.epoch()
        if metrics_or_none is None:
            return Diverged(epoch=len(run.progress.history) + 1)
        if workers.any(on_epoch(metrics_or_none) is Signal.STOP):
            return Stopped(epoch=metrics_or_none.epoch)
    return run.complete()


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """Restrict cuDNN to deterministic kernels, then restore its setting."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


@dataclass(slots=True, kw_only=True)
class _Run:
    """The state of a training between two epochs."""

    experiment: Experiment
    dataset: Dataset
    folder: Path
    device: torch.device
    workers: Workers
    network: Network
    trained: nn.Module
    """The network, wrapped to average gradients if there are several workers."""
    optimizer: Adam
    scheduler: LRScheduler
    log_mel: LogMel
    batcher: Batcher
    validator: Evaluator
    checkpoints: Checkpoints
    taught: Taught | None = None
    progress: Progress = field(default_factory=lambda: Progress(history=[], masks={}))

    @classmethod
    def start(
        cls,
        experiment: Experiment,
        dataset: Dataset,
        folder: Path,
        device: torch.device,
        workers: Workers,
        teacher: TeacherLogits | None,
    ) -> "_Run":
        """Build everything from the config, then restore the last checkpoint, if there is one."""
        schedule, taught = experiment.schedule, None if teacher is None else teacher.taught
        check_items(empty(experiment).state_dict(), experiment)
        network = build_network(
            experiment.architecture,
            experiment.front_end,
            seed=experiment.seed,
            storage=experiment.compression.storage,
        ).to(device)
        optimizer = Adam(network.parameters(), lr=schedule.learning_rate_min, weight_decay=schedule.weight_decay)
        scheduler = cyclic(optimizer, schedule, steps_per_epoch=len(plans_of(experiment, dataset, epoch=0)))
        run = cls(
            experiment=experiment,
            dataset=dataset,
            folder=folder,
            device=device,
            workers=workers,
            network=network,
            trained=network if workers.count == 1 else _averaging(network),
            optimizer=optimizer,
            scheduler=scheduler,
            log_mel=LogMel(experiment.front_end).to(device),
            batcher=batcher(experiment, dataset, device, teacher),
            validator=Evaluator(dataset, "valid", experiment.front_end, device, workers=workers),
            checkpoints=Checkpoints(
                folder=folder,
                experiment=experiment,
                data_digest=dataset.manifest.digest,
                network=network,
                optimizer=optimizer,
                scheduler=scheduler,
                teacher_digest=None if taught is None else taught.digest,
            ),
            taught=taught,
        )
        if (progress := run.checkpoints.restore()) is not None:
            run.progress = progress
        if not workers.agree(len(run.progress.history)):
            raise RuntimeError(f"workers see different checkpoints in {folder}: give a folder that all of them share")
        if not run.progress.history:  # else they are in the checkpoint
            measure_bands(network, dataset, run.log_mel, workers)
        return run

    def epoch(self) -> EpochMetrics | None:
        """Train and validate one epoch and write its checkpoint; return None if a loss is not finite."""
        started = time.monotonic()
        number = len(self.progress.history) + 1
        if number == self.experiment.schedule.cycle_ends[0] + 1:
            self._prune()
        train_loss = self._train_epoch(number)
        if not math.isfinite(train_loss):
            return None
        self.network.eval()
        valid = self.validator.evaluate(self.network)
        if not math.isfinite(valid.log_loss):
            return None
        metrics = EpochMetrics(
            epoch=number,
            learning_rate=float(self.scheduler.get_last_lr()[0]),
            train_loss=train_loss,
            valid_log_loss=valid.log_loss,
            valid_accuracy=valid.accuracy,
            seconds=time.monotonic() - started,
        )
        self.progress.history.append(metrics)
        if self.workers.leads:
            self.checkpoints.write(self.progress, best=self.best_epoch == number)
        return metrics

    def _train_epoch(self, number: int) -> float:
        plans = plans_of(self.experiment, self.dataset, epoch=number - 1)
        schedule, share = self.experiment.schedule, self.experiment.compression.freeze_share
        frozen_from = len(plans) * (schedule.epochs - share * schedule.cycle_lengths[-1])
        step, frozen = len(plans) * (number - 1), False
        total = torch.zeros((), device=self.device)
        self.network.train()
        parts = [plan.part(self.workers.share(len(plan))) for plan in plans]
        for plan, part, (waveforms, targets) in zip(plans, parts, ahead(self.batcher, parts), strict=True):
            sharing = self.workers.share(len(plan))
            if self.workers.count > 1:
                self.network.share(sharing)
            if step >= frozen_from and not frozen:
                self.network.freeze_batch_norm()
                self.network.freeze_observers()
                frozen = True
            maps = changed_maps(self.log_mel(waveforms), self.experiment, part.drawn, rows=len(plan), workers=sharing)
            losses = summed_loss(self.trained(maps), targets, self.experiment.distillation if self.taught else None)
            # Scaled so that the average over workers is the loss of the whole batch, and likewise for the gradients.
            loss = losses / len(plan) * sharing.count
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            prune.hold(self.network, self.progress.masks)
            self.scheduler.step()
            total += loss.detach() * (len(plan) / self.workers.count)
            step += 1
        return float(self.workers.sum(total)) / sum(len(plan) for plan in plans)

    def _prune(self) -> None:
        """Prune between the first and second cycles; a training resumed there does the same again."""
        experiment = self.experiment
        if experiment.compression.prune_ratio > 0:
            items = stored_items(experiment)
            self.progress.masks = prune.smallest(self.network, items, experiment.compression.prune_ratio)
            prune.hold(self.network, self.progress.masks)

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the lowest validation log loss (the latest of equals); None while pruning is still to come."""
        if not self.dataset.manifest.held_out:
            return len(self.progress.history)
        chosen = [metrics for metrics in self.progress.history if metrics.epoch >= self.experiment.first_kept_epoch]
        return min(chosen, key=lambda m: (m.valid_log_loss, -m.epoch)).epoch if chosen else None

    def complete(self) -> Completed:
        """Store the best epoch's network, checked against the size law and calibrated if configured; evaluate it."""
        if self.workers.leads:
            self.checkpoints.take_best()
        # Other nodes may not yet see what was just written to a shared folder.
        self.workers.take_from_first(self.network.state_dict().values())
        uncalibrated, stored = compressed(self.network.eval(), self.progress.masks, self.experiment)
        network, calibration = calibrated(uncalibrated, self.experiment, self.dataset, self.device)
        evaluation = self.validator.judge(network)
        info = ModelInfo(
            experiment=self.experiment,
            labels=self.dataset.labels,
            data=_identity(self.dataset),
            evaluation=evaluation,
            calibration=calibration,
            taught=self.taught,
        )
        if self.workers.leads:
            save_model(self.folder / MODEL_FILE, network, info)
        assert self.best_epoch is not None, "a pruned training goes on after its first cycle"
        return Completed(
            evaluation=evaluation,
            epochs=len(self.progress.history),
            best_epoch=self.best_epoch,
            stored=stored,
            seconds=sum(metrics.seconds for metrics in self.progress.history),
            calibration=calibration,
            uncalibrated=None if calibration is None else self.validator.judge(uncalibrated),
        )


def _identity(dataset: Dataset) -> DataIdentity:
    return DataIdentity(choice=dataset.manifest.choice, digest=dataset.manifest.digest)


def _averaging(network: nn.Module) -> nn.Module:
    """Wrap the network to average gradients over workers; its buffers need no exchange, as they are equal anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # renamed in torch 2.13; torch 2.11 lacks the new name
        return DistributedDataParallel(network, broadcast_buffers=False)
