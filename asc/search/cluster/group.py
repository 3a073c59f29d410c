"""A trial of several workers: a Ray Train group whose workers run the same function as a trial of one worker.

https://docs.ray.io/en/latest/train/user-guides/hyperparameter-optimization.html: Tune's function starts the group in
separate processes and passes on what the first worker reports. Ray Train places the processes and ends them. asc does
the rest: checkpoints; retries, which the conductor counts; and the connection between the workers, because torch's
default listens on every interface.
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

# Ray Train reads these in the process that starts the group. It polls the workers for reports five times a second.
_ENVIRONMENT = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # A group's slots are reserved before it starts, so a slow start only means a busy machine: allow it time.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
}
_TIMEOUT = datetime.timedelta(minutes=30)
_SIOCGIFADDR = 0x8915


def slots(threads: int, *, on_gpu: bool) -> dict[str, float]:
    """The resources of each worker of a group, by Ray's names."""
    return {"CPU": threads, "GPU": 1} if on_gpu else {"CPU": threads}


class Verdict(Exception):
    """Ends a trial without another attempt; a worker raises it to end the other workers too."""

    def __init__(self, message: Message) -> None:
        """`message` is passed on to the driver."""
        super().__init__(message)
        self.message = message


class GroupFailed(Exception):
    """At least one worker of a group failed."""


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
        run_config=run_config,  # type: ignore[arg-type]  # the type that it really takes
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
    """The training function of each worker."""
    from ray import train

    def send(message: Message) -> None:
        if message.halt is not None or message.failed is not None:
            raise Verdict(message)
        train.report(result_of(message))

    order = order_of(config)
    carry_out(order, send, lambda: _met(order))


def _met(order: TrialOrder) -> "Workers":
    """Join the workers of the group in a torch process group, on the interface over which the nodes see each other.

    When Ray runs on one machine only, that is loopback.
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
    """The name of the network interface of this machine that has this IPv4 address.

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
