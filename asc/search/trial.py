"""A trial on a worker: the same training loop as launch/train.py, its epochs passed on to Ray Tune.

Imported by Ray's workers. What goes over the wire are plain dicts of `TrialOrder` and of the three kinds of `Message`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asc.config import Experiment
from asc.data.choice import DataChoice
from asc.results import Completed, Diverged, EpochMetrics, Signal, Stored
from asc.typed import Scalar, build


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOrder:
    """All that a worker needs; `cache` is where the packed audio lies, `journalled` how many epochs the driver has."""

    config: Mapping[str, Scalar]
    data: DataChoice
    cache: str
    folder: str
    threads: int
    journalled: int
    on_gpu: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a worker tells the driver: an epoch, or the end of a training (`diverged` is the epoch of it)."""

    epoch: EpochMetrics | None = None
    diverged: int | None = None
    log_loss: float | None = None
    accuracy: float | None = None
    epochs: int | None = None
    built: Stored | None = None
    calibrated: bool | None = None


def message_of(result: Mapping[str, Any]) -> Message | None:
    """The message in one of Ray's results; None where the worker's function just ended."""
    return build(Message, result["message"]) if isinstance(result.get("message"), Mapping) else None


def run_trial(config: dict[str, Any]) -> None:
    """Ray Tune's function: train as ordered, report each epoch that the driver has not seen, then the end."""
    import torch

    from asc.train import train
    from asc.training_run import open_data

    order = build(TrialOrder, config)
    torch.set_num_threads(order.threads)
    experiment = Experiment.from_flat(order.config)
    dataset = open_data(order.data, experiment, Path(order.cache))

    def report(metrics: EpochMetrics) -> Signal:
        if metrics.epoch > order.journalled:
            _send(Message(epoch=metrics))
        return Signal.CONTINUE

    device = torch.device("cuda" if order.on_gpu else "cpu")
    end = train(experiment, dataset, folder=Path(order.folder), report=report, device=device)
    match end:
        case Completed():
            _send(
                Message(
                    log_loss=end.evaluation.log_loss,
                    accuracy=end.evaluation.accuracy,
                    epochs=end.epochs,
                    built=end.stored,
                    calibrated=end.calibration.applied if end.calibration else None,
                )
            )
        case Diverged():
            _send(Message(diverged=end.epoch))


def _send(message: Message) -> None:
    from ray import tune

    tune.report({"message": dataclasses.asdict(message)})
