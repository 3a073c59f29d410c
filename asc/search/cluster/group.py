"""A trial of several workers: a Ray Train group whose workers run the same function as a trial of one.

https://docs.ray.io/en/latest/train/user-guides/hyperparameter-optimization.html: Tune's function starts the group, in
processes of its own, and passes on what the first worker reports. Ray Train places the processes and ends them. The
rest is ours: checkpoints; retries, for Tune alone counts them; and how the workers meet, for torch's own way listens on
every interface.
"""

import datetime
import fcntl
import os
import socket
import struct
import uuid
from typing import TYPE_CHECKING, Any

from asc.search.cluster.trial import Message, TrialOrder, carry_out, order_of, result_of

if TYPE_CHECKING:
    from asc.models.workers import Workers

# Ray Train reads them where the group is started. Reports are asked for five times a second.
_ENVIRONMENT = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # Its slots are set aside before a group starts, so one that is slow is on a busy machine: it shall have its time.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
}
_TIMEOUT = datetime.timedelta(minutes=30)
_SIOCGIFADDR = 0x8915


def slots(threads: int, *, on_gpu: bool) -> dict[str, float]:
    """What each worker of a group holds, as Ray names it."""
    return {"CPU": threads, "GPU": 1} if on_gpu else {"CPU": threads}


class Verdict(Exception):
    """What ends a trial without another attempt; a worker raises it to end the others."""

    def __init__(self, message: Message) -> None:
        """`message` is what the driver is to hear."""
        super().__init__(message)
        self.message = message


class GroupFailed(Exception):
    """Workers of a group failed."""


def run_group(config: dict[str, Any]) -> None:
    """Ray Tune's function: carry out an order in a group of workers.

    Raises:
        GroupFailed: a worker died or raised; the trial may be tried again.
    """
    order = order_of(config)
    os.environ.update(_ENVIRONMENT)
    from ray import tune
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.exceptions import WorkerGroupError
    from ray.tune.integration.ray_train import TuneReportCallback

    from asc.search.cluster.slots import TunedTrainer

    each = slots(order.threads, on_gpu=order.on_gpu)
    run_config = RunConfig(
        name=uuid.uuid4().hex,
        storage_path=tune.get_context().get_trial_dir(),
        callbacks=[TuneReportCallback()],  # type: ignore[no-untyped-call]
        failure_config=FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0),
    )
    trainer = TunedTrainer(
        _work,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=order.workers, use_gpu=order.on_gpu, resources_per_worker=each),
        run_config=run_config,  # type: ignore[arg-type]  # it takes none but this one
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        failures = list(error.worker_failures.values())
        verdicts = [failure.message for failure in failures if isinstance(failure, Verdict)]
        if not verdicts:
            raise GroupFailed("\n".join(["", *map(str, failures)])) from None
        tune.report(result_of(verdicts[0]))


def _work(config: dict[str, Any]) -> None:
    """What each worker does."""
    from ray import train

    def send(message: Message) -> None:
        if message.halt is not None or message.failed is not None:
            raise Verdict(message)
        train.report(result_of(message))

    order = order_of(config)
    carry_out(order, send, lambda: _met(order))


def _met(order: TrialOrder) -> "Workers":
    """This worker among those of the group: a process group of torch's that listens where the nodes see each other.

    On a machine of its own that is loopback.
    """
    import ray
    import torch.distributed
    from ray import train
    from ray.train.collective import broadcast_from_rank_zero
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    from asc.models.workers import joined

    rank, count = train.get_context().get_world_rank(), train.get_context().get_world_size()
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = interface_of(address)
    listener = socket.create_server((address, 0)) if rank == 0 else None
    host, port = broadcast_from_rank_zero(None if listener is None else listener.getsockname())
    store = TCPStore(
        host,
        port,
        count,
        is_master=listener is not None,
        timeout=_TIMEOUT,
        master_listen_fd=None if listener is None else listener.detach(),
    )
    backend = "nccl" if order.on_gpu else "gloo"
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=_TIMEOUT)
    return joined()


def interface_of(address: str) -> str:
    """The name of this machine's network interface with an IPv4 address.

    Raises:
        OSError: no interface has it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asked, _SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:
                continue  # it has no address
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    raise OSError(f"no network interface of this node has its address {address}")
