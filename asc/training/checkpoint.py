"""The checkpoints of a training: what it needs to go on after an epoch with the same results as if it had not stopped.

The folder of a training holds two: that of the last epoch, and the network of the best one so far.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from asc.config.experiment import Experiment
from asc.errors import InputError, machine_fault
from asc.model_file.tensors import read_tensors, write_tensors
from asc.models.network import Network
from asc.run_files import BEST_EPOCH, LAST_EPOCH
from asc.training import prune
from asc.training.adam import Adam
from asc.training_results import EpochMetrics
from asc.typed import build

_ADAM = {"step", "exp_avg", "exp_avg_sq"}


@dataclass(slots=True, kw_only=True)
class Progress:
    """What a training has done so far: its epochs, and the masks of its pruned weights (empty before pruning)."""

    history: list[EpochMetrics]
    masks: dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """Writes and restores a network and its optimiser; `data_digest` is that of the manifest trained on.

    `teacher_digest` is that of the soft labels (`asc.results.Taught`), None without a teacher.
    """

    folder: Path
    experiment: Experiment
    data_digest: str
    network: Network
    optimizer: Adam
    scheduler: LRScheduler
    teacher_digest: str | None = None

    def write(self, progress: Progress, *, best: bool) -> None:
        """Write the checkpoint of the last epoch; if it is the `best` so far, first write that of the best epoch.

        Raises:
            OSError: a file cannot be written, such as on a full disk; the last complete checkpoint is kept.
        """
        header = {
            "fingerprint": self.experiment.fingerprint,
            "data": self.data_digest,
            "history": [dataclasses.asdict(metrics) for metrics in progress.history],
            "scheduler": _plain_state(self.scheduler),
            **({} if self.teacher_digest is None else {"teacher": self.teacher_digest}),
        }
        network = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        if best:
            write_tensors(self.folder / BEST_EPOCH, network, header)
        optimizer = {
            f"optimizer.{index}.{name}": tensor
            for index, state in self.optimizer.state_dict()["state"].items()
            for name, tensor in state.items()
        }
        masks = {f"mask.{name}": mask for name, mask in progress.masks.items()}
        write_tensors(self.folder / LAST_EPOCH, {**network, **optimizer, **masks}, header)

    def restore(self) -> Progress | None:
        """Restore the state after the last epoch; None if there is no checkpoint.

        Raises:
            InputError: the checkpoint is damaged, or belongs to another experiment, other data or another teacher.
        """
        path = self.folder / LAST_EPOCH
        if not path.is_file():
            return None
        tensors, header = read_tensors(path)
        if (header.get("fingerprint"), header.get("data")) != (self.experiment.fingerprint, self.data_digest):
            raise InputError(f"{path} is of another config or other data: use another --name")
        if header.get("teacher") != self.teacher_digest:
            raise InputError(f"{path} is of another teacher, or of none: give the same logits, or use another --name")
        try:
            return self._take(tensors, header)
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            if machine_fault(error) is not None:
                raise
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{path} does not hold what this training needs ({reason}): use another --name") from error

    def _take(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> Progress:
        self.network.load_state_dict(_under(tensors, "network."))
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            states.setdefault(int(index), {})[key] = tensor
        if any(states[index].keys() != _ADAM for index in range(len(list(self.network.parameters())))):
            raise KeyError("the optimiser state of a weight is missing")
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.scheduler.load_state_dict(header["scheduler"])
        for group in self.optimizer.param_groups:
            group["lr"] = header["scheduler"]["_last_lr"][0]
        device = next(self.network.parameters()).device
        masks = {name: mask.to(device) for name, mask in _under(tensors, "mask.").items()}
        prune.hold(self.network, masks)
        return Progress(history=[build(EpochMetrics, row) for row in header["history"]], masks=masks)

    def take_best(self) -> None:
        """Load the network of the best epoch.

        Raises:
            InputError: its checkpoint is missing or damaged.
        """
        tensors, _ = read_tensors(self.folder / BEST_EPOCH)
        self.network.load_state_dict(_under(tensors, "network."))


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _plain_state(scheduler: LRScheduler) -> dict[str, Any]:
    return {
        key: value
        for key, value in scheduler.state_dict().items()
        if isinstance(value, int | float | str | list | None)
    }
