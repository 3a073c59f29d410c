"""A simulated trial: it does what `asc.search.cluster.trial.run_trial` does for Ray Tune, but sleeps instead of
training, without torch.

An epoch sleeps, computes its log loss from the config by a formula, and then writes a checkpoint of a few bytes, from
which a trial resumes after its worker was killed. Each epoch in a checkpoint is also a line in a file of events, which
shows that no epoch was trained twice and how busy the workers were.
"""

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from asc.config.experiment import Experiment
from asc.errors import disk_is_full
from asc.search.cluster.trial import Message, TrialOrder, order_of, send
from asc.size.law import cost
from asc.training_results import EpochMetrics, FinalFigures

CHECKPOINT = "last.safetensors"  # the name of a real one, so that a search deletes it like those


class Worked(NamedTuple):
    """An epoch that a worker trained; times are seconds since 1970."""

    trial: str
    epoch: int
    pid: int
    began_s: float
    ended_s: float


def simulated_trial(*, epoch_s: float, events: Path, jitter: float = 0.2) -> Callable[[dict[str, Any]], None]:
    """Return a function for `asc.search.cluster.study.run(..., trial=...)` whose epochs take `epoch_s` seconds.

    Each trial's epochs are longer or shorter by up to the share `jitter`, fixed by its config, so that trials do not
    all end at once.
    """

    def trial(config: dict[str, Any]) -> None:
        order = order_of(config)
        experiment = Experiment.from_flat(order.config)
        pace = 1 + jitter * (2 * random.Random(experiment.fingerprint).random() - 1)
        try:
            _train(order, experiment, epoch_s * pace, events)
        except OSError as error:
            if not disk_is_full(error):
                raise
            send(Message(halt=f"the disk of {order.folder} is full ({error.strerror})"))
        else:
            send(_completed(experiment))

    return trial


def worked(events: Path) -> list[Worked]:
    """Read the file of events in order; return an empty list if it does not exist."""
    lines = [line.split() for line in events.read_text().splitlines()] if events.exists() else []
    return [Worked(trial, int(epoch), int(pid), float(b), float(e)) for trial, epoch, pid, b, e in lines]


def log_loss(experiment: Experiment, epoch: int) -> float:
    """A made-up log loss: lower for wider networks, for learning rates near 0.002, and with each epoch."""
    away = abs(experiment.schedule.learning_rate_max - 0.002)
    return 3 - 0.01 * sum(experiment.architecture.widths) + 100 * away + 1 / epoch


def metrics_of(experiment: Experiment, epoch: int, seconds: float) -> EpochMetrics:
    """The metrics of an epoch, as a worker reports them."""
    loss = log_loss(experiment, epoch)
    return EpochMetrics(
        epoch=epoch, learning_rate=1e-3, train_loss=loss, valid_log_loss=loss, valid_accuracy=0.5, seconds=seconds
    )


def _train(order: TrialOrder, experiment: Experiment, epoch_s: float, events: Path) -> None:
    """Train the epochs after the checkpoint, and report those that the driver has not journalled."""
    folder = Path(order.folder)
    done = _checkpointed(folder)
    for epoch in range(1, experiment.schedule.epochs + 1):
        if epoch > done:
            began_s = time.time()
            time.sleep(epoch_s)
            _checkpoint(folder, epoch)
            # After the checkpoint: a worker killed between the two loses a line, but no line is ever written twice.
            _append(events, Worked(folder.name, epoch, os.getpid(), began_s, time.time()))
        if epoch > order.journalled:
            send(Message(epoch=metrics_of(experiment, epoch, epoch_s)))


def _completed(experiment: Experiment) -> Message:
    epochs = experiment.schedule.epochs
    stored = cost(experiment).stored
    figures = FinalFigures(log_loss=log_loss(experiment, epochs), accuracy=0.5, epochs=epochs, built=stored)
    return Message(completed=figures)


def _checkpointed(folder: Path) -> int:
    """The epoch of the checkpoint, or 0 without one."""
    path = folder / CHECKPOINT
    return int(json.loads(path.read_text())["epoch"]) if path.is_file() else 0


def _checkpoint(folder: Path, epoch: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{CHECKPOINT}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps({"epoch": epoch}))
    temporary.replace(folder / CHECKPOINT)


def _append(events: Path, line: Worked) -> None:
    """Append a line in a single write, so that lines of several workers do not mix."""
    handle = os.open(events, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, (" ".join(map(str, line)) + "\n").encode())
    finally:
        os.close(handle)
