"""Trains a trial on a worker: the same training loop as launch/train.py, with its epochs reported to Ray Tune.

Ray's workers import this module. It imports torch only to train, because not every process of a group trains.
`TrialOrder` and `Message` are sent as JSON text: Tune would copy, flatten and analyse every key of a dict at each
result, and keep all of that for every trial.
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
from asc.results import Split, SplitFigures
from asc.run_files import JOURNAL, MODEL_FILE
from asc.runs.bucket import Bucket, StorageError
from asc.training_results import Completed, Diverged, EpochMetrics, FinalFigures, Signal, Stopped, TrainingEnd
from asc.typed import Scalar, build

if TYPE_CHECKING:
    import torch

    from asc.data.dataset import Dataset
    from asc.model_file.teacher_logits import TeacherLogits
    from asc.models.workers import Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOrder:
    """Everything that a worker needs to know.

    `cache` is the folder of the packed audio, `data_digest` identifies the data that the driver sees, `folder` is the
    trial's folder in the run folder, and `journalled` is the number of epochs that the driver has. If there is a
    `pauses_after`, the task ends after that epoch, with a checkpoint. `shared` means that other nodes may run trials,
    so all nodes must see the same folders. If the run is in a bucket, `bucket` is the trial's folder there and replaces
    `folder`. `workers` processes train together, with `threads` threads each. If `confirm` names a split, the stored
    network is judged on it after its training. If there is a `teacher`, the network learns from its logits, which the
    workers find in this file and which have this digest.
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
    pauses_after: int | None = None
    bucket: Bucket | None = None
    workers: int = 1
    confirm: Split | None = None
    teacher: str | None = None
    teacher_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A worker's message to the driver: an epoch, or how the trial ended.

    `diverged` is the epoch in which it diverged; `failed` says why this trial cannot be trained; `halt` says why no
    trial can be.
    """

    epoch: EpochMetrics | None = None
    diverged: int | None = None
    failed: str | None = None
    halt: str | None = None
    completed: FinalFigures | None = None


def config_of(order: TrialOrder) -> dict[str, Any]:
    """The config that Ray Tune passes to a trial's function."""
    return {"order": json.dumps(dataclasses.asdict(order))}


def order_of(config: Mapping[str, Any]) -> TrialOrder:
    """The order in the config that Ray Tune passes to a trial's function."""
    return build(TrialOrder, json.loads(config["order"]))


def message_of(result: Mapping[str, Any]) -> Message | None:
    """The message in a result of Ray's; None if the result only says that the worker's function ended."""
    return build(Message, json.loads(result["message"])) if "message" in result else None


def run_trial(config: dict[str, Any]) -> None:
    """Ray Tune's function: carry out an order in this process."""
    from asc.models.workers import ALONE

    carry_out(order_of(config), send, lambda: ALONE)


def carry_out(order: TrialOrder, send: Callable[[Message], None], join: Callable[[], "Workers"]) -> None:
    """Train as ordered; send each epoch that the driver has not seen, then the end. `join` connects to other workers.

    A problem that every trial would meet (wrong data on this node, a full disk, an unreachable bucket) is sent as
    `halt`; a problem of this config only, as `failed`. Neither is retried.
    """
    try:
        dataset, teacher = _opened(order), _teacher(order)
    except InputError as error:
        send(Message(halt=f"{_here(order)}{error}"))
        return
    try:
        last = _trained(order, dataset, teacher, send, join())
        if last is not None:
            send(last)
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
    """Open the data of a trial on this node.

    Raises:
        InputError: the data or the run folder are missing, or the data differ from those that the driver sees.
    """
    import torch

    from asc.runs.training_run import open_data

    torch.set_num_threads(order.threads)
    run_folder = Path(order.folder).parents[1]
    if order.shared and order.bucket is None and not (run_folder / JOURNAL).is_file():
        raise InputError(f"{run_folder} does not exist: give a --storage that all nodes share, or a bucket")
    dataset = open_data(order.data, Experiment.from_flat(order.config), Path(order.cache))
    if dataset.manifest.digest != order.data_digest:
        raise InputError(
            f"{order.data.spec} is not what the search began with (files, labels or splits differ): copy the same data "
            "to every node"
        )
    return dataset


def _teacher(order: TrialOrder) -> "TeacherLogits | None":
    """The logits that a final learns from, read on this node; None if the order has no teacher.

    Raises:
        InputError: the file is missing or damaged, or is not the one that the search made.
    """
    if order.teacher is None:
        return None
    from asc.model_file.teacher_logits import read_teacher_logits

    teacher = read_teacher_logits(Path(order.teacher))
    if teacher.taught.digest != order.teacher_digest:
        raise InputError(f"{order.teacher} is not what the search wrote: put that file back, or start a new search")
    return teacher


def _trained(
    order: TrialOrder,
    dataset: "Dataset",
    teacher: "TeacherLogits | None",
    send: Callable[[Message], None],
    workers: "Workers",
) -> Message | None:
    """Train; return the message that says how the trial ended, None if it pauses."""
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
            return Signal.STOP if metrics.epoch == order.pauses_after else Signal.CONTINUE

        end = train(
            experiment,
            dataset,
            folder=place.folder,
            on_epoch=on_epoch,
            device=device,
            workers=workers,
            teacher=teacher,
        )
        place.keep()
        # Only the leading worker has written the model file, and only its message is read.
        confirmed = order.confirm is not None and isinstance(end, Completed) and workers.leads
        return _message_at(end, _confirmation(order, place.folder / MODEL_FILE, device) if confirmed else None)


def _confirmation(order: TrialOrder, model: Path, device: "torch.device") -> SplitFigures:
    """Judge a model file, as it is shipped, on the split that the order names; no training has opened that split."""
    from asc.data.dataset import open_dataset
    from asc.evaluation.evaluate import Evaluator
    from asc.model_file.artefact import load_model

    assert order.confirm is not None, "ask only if there is a split to judge on"
    network, info = load_model(model)
    front_end = info.experiment.front_end
    dataset = open_dataset(
        order.data, sample_rate_hz=front_end.sample_rate_hz, cache=Path(order.cache), splits=(order.confirm,)
    )
    found = Evaluator(dataset, order.confirm, front_end, device).judge(network.to(device))
    return SplitFigures(split=order.confirm, clips=found.clips, log_loss=found.log_loss, accuracy=found.accuracy)


def _message_at(end: TrainingEnd, confirmation: SplitFigures | None) -> Message | None:
    match end:
        case Completed():
            intervals = end.evaluation.intervals
            figures = FinalFigures(
                log_loss=end.evaluation.log_loss,
                accuracy=end.evaluation.accuracy,
                epochs=end.epochs,
                built=end.stored,
                calibrated=end.calibration.applied if end.calibration else None,
                confirmation=confirmation,
                log_loss_interval=intervals.log_loss if intervals else None,
                accuracy_interval=intervals.accuracy if intervals else None,
            )
            return Message(completed=figures)
        case Diverged():
            return Message(diverged=end.epoch)
        case Stopped():
            return None  # it pauses, and the driver knows that from the epoch


def _here(order: TrialOrder) -> str:
    """The name of this node as the start of a message; empty if there is only one node."""
    if not order.shared:
        return ""
    import ray

    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return f"on node {socket.gethostname()} ({address}, Ray's {ray.get_runtime_context().get_node_id()[:8]}): "


def result_of(message: Message) -> dict[str, Any]:
    """The result that Ray passes to the driver."""
    return {"message": json.dumps(dataclasses.asdict(message))}


def send(message: Message) -> None:
    """Send a message to the driver from a trial's function; return when the driver has received it."""
    from ray import tune

    tune.report(result_of(message))
