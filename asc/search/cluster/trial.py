"""A trial on a worker: the same training loop as launch/train.py, its epochs passed on to Ray Tune.

Imported by Ray's workers, without torch: of a group's processes only some train. `TrialOrder` and `Message` go over the
wire as JSON text: Tune would copy, flatten and analyse every key of a table at each result, and keep all that for each
trial that there was.
"""

import dataclasses
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.errors import InputError, disk_is_full
from asc.results import Completed, Diverged, EpochMetrics, FinalFigures, Signal, Stopped, TrainingEnd
from asc.run_files import JOURNAL
from asc.runs.bucket import Bucket, StorageError
from asc.typed import Scalar, build

if TYPE_CHECKING:
    from asc.data.dataset import Dataset
    from asc.models.workers import Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOrder:
    """All that a worker needs.

    `cache` is where the packed audio lies, `data_digest` names the data that the driver sees, `folder` is the trial's
    in the run's, `journalled` how many epochs the driver has. `shared` says that other nodes may run trials, which must
    then see the same folders; where the run lies in a `bucket`, that is the trial's folder there, and takes the place
    of `folder`. `workers` train together, with `threads` threads each.
    """

    config: Mapping[str, Scalar]
    data: DataChoice
    data_digest: str
    cache: str
    folder: str
    threads: int
    journalled: int
    on_gpu: bool
    shared: bool
    bucket: Bucket | None = None
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a worker tells the driver: an epoch, or how it ended.

    `diverged` is the epoch of it; `failed` why this trial cannot be trained; `halt` why none can be.
    """

    epoch: EpochMetrics | None = None
    diverged: int | None = None
    failed: str | None = None
    halt: str | None = None
    completed: FinalFigures | None = None


def config_of(order: TrialOrder) -> dict[str, Any]:
    """What Ray Tune is to hand to a trial's function."""
    return {"order": json.dumps(dataclasses.asdict(order))}


def order_of(config: Mapping[str, Any]) -> TrialOrder:
    """The order in what Ray Tune hands to a trial's function."""
    return build(TrialOrder, json.loads(config["order"]))


def message_of(result: Mapping[str, Any]) -> Message | None:
    """The message in one of Ray's results; None where the worker's function just ended."""
    return build(Message, json.loads(result["message"])) if "message" in result else None


def run_trial(config: dict[str, Any]) -> None:
    """Ray Tune's function: carry out an order in this process."""
    from asc.models.workers import ALONE

    carry_out(order_of(config), send, lambda: ALONE)


def carry_out(order: TrialOrder, send: Callable[[Message], None], join: Callable[[], "Workers"]) -> None:
    """Train as ordered, send each epoch that the driver has not seen, then the end; `join` meets the other workers.

    What anybody's trial would meet (data that are wrong on this node, a full disk, no way to the bucket) is sent as a
    reason to halt, and what only this config meets as its failure; both leave no doubt, so there is no use in a second
    attempt.
    """
    try:
        dataset = _opened(order)
    except InputError as error:
        send(Message(halt=f"{_here(order)}{error}"))
        return
    try:
        send(_message_at(_trained(order, dataset, send, join())))
    except StorageError as error:
        send(Message(halt=f"{_here(order)}{error}"))
    except InputError as error:
        send(Message(failed=str(error)))
    except OSError as error:
        if not disk_is_full(error):
            raise
        folder = order.folder if order.bucket is None else order.cache
        send(Message(halt=f"{_here(order)}the disk of {folder} is full ({error.strerror}): free some space"))


def _opened(order: TrialOrder) -> "Dataset":
    """The data of a trial as this node sees them.

    Raises:
        InputError: they or the run's folder are not there, or not those that the driver sees.
    """
    import torch

    from asc.runs.training_run import open_data

    torch.set_num_threads(order.threads)
    run_folder = Path(order.folder).parents[1]
    if order.shared and order.bucket is None and not (run_folder / JOURNAL).is_file():
        raise InputError(f"{run_folder} is not there: give a --storage that all nodes share, or a bucket")
    dataset = open_data(order.data, Experiment.from_flat(order.config), Path(order.cache))
    if dataset.manifest.digest != order.data_digest:
        raise InputError(
            f"{order.data.spec} is not what the search began with (files, labels or splits differ): copy the same data "
            "to every node"
        )
    return dataset


def _trained(order: TrialOrder, dataset: "Dataset", send: Callable[[Message], None], workers: "Workers") -> TrainingEnd:
    import torch

    from asc.search.cluster.workspace import workspace
    from asc.training.train import train

    device = torch.device("cuda" if order.on_gpu else "cpu")
    experiment = Experiment.from_flat(order.config)
    with workspace(Path(order.folder), order.bucket, scratch=Path(order.cache)) as place:

        def on_epoch(metrics: EpochMetrics) -> Signal:
            if metrics.epoch > order.journalled:
                place.keep()
                send(Message(epoch=metrics))
            return Signal.CONTINUE

        end = train(experiment, dataset, folder=place.folder, on_epoch=on_epoch, device=device, workers=workers)
        place.keep()
        return end


def _message_at(end: TrainingEnd) -> Message:
    match end:
        case Completed():
            figures = FinalFigures(
                log_loss=end.evaluation.log_loss,
                accuracy=end.evaluation.accuracy,
                epochs=end.epochs,
                built=end.stored,
                calibrated=end.calibration.applied if end.calibration else None,
            )
            return Message(completed=figures)
        case Diverged():
            return Message(diverged=end.epoch)
        case Stopped():
            raise AssertionError("a trial's on_epoch stops nothing: Tune ends its worker")


def _here(order: TrialOrder) -> str:
    """The node, where there may be several."""
    if not order.shared:
        return ""
    import ray

    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return f"on node {socket.gethostname()} ({address}, Ray's {ray.get_runtime_context().get_node_id()[:8]}): "


def result_of(message: Message) -> dict[str, Any]:
    """What Ray is to hand to the driver."""
    return {"message": json.dumps(dataclasses.asdict(message))}


def send(message: Message) -> None:
    """Tell the driver, from a trial's function; returns when the driver has heard it."""
    from ray import tune

    tune.report(result_of(message))
