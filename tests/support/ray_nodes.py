"""A Ray cluster of several nodes on this machine, in its own process. Nodes can be killed and added.

As a script, `python ray_nodes.py CPUS CPUS ...`, the head's CPUs first, it prints the cluster's address and then reads
lines: `add CPUS` adds a node, `slots` tells what is free, `pretend VERSION` reports another version of Ray. It exits at
the end of its input. Everything listens on loopback only.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import forks
from forked import forking
from patience import PATIENCE_S

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""What a process that joins the cluster must have in its environment, to listen on loopback only."""
ENVIRONMENT = {
    **LOOPBACK,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "60000",  # a killed node refuses at once, and a slow one is not dead
    "RAY_health_check_failure_threshold": "3",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """The cluster's address, and the pids of its raylets, the head's first."""

    address: str
    raylets: list[int]
    process: subprocess.Popen[str]

    def add(self, cpus: int) -> None:
        """Add a node."""
        self.raylets.append(self._ask(f"add {cpus}"))

    def slots(self) -> dict[str, Any]:
        """Return the number of CPUs (`total`), `free` CPUs and placement `groups`."""
        return dict(self._ask("slots"))

    def pretend(self, version: str) -> None:
        """Make the cluster report another version of Ray from now on."""
        self._ask(f"pretend {version}")

    def _ask(self, line: str) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def nodes(*cpus: int, environment: dict[str, str]) -> Iterator[Nodes]:
    """Run a cluster whose nodes have these numbers of CPUs, for as long as the context lasts."""
    command = [sys.executable, __file__, *map(str, cpus)]
    with subprocess.Popen(
        command,
        env={**environment, **ENVIRONMENT, **forking()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        try:
            yield Nodes(address=said["address"], raylets=said["raylets"], process=process)
        finally:
            process.communicate(timeout=PATIENCE_S)


def _main(cpus: list[int]) -> None:
    os.environ.update(ENVIRONMENT)
    forks.stand_in()
    from ray.cluster_utils import Cluster

    from asc.search.cluster.lean_node import lean_nodes

    # No dashboard: it has a fixed port, so a second cluster on the machine would not start.
    with lean_nodes():
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus[0], "include_dashboard": False})

    def add(count: int) -> int:
        with lean_nodes():
            node = cluster.add_node(num_cpus=count)
        pid: int = node.all_processes["raylet"][0].process.pid
        return pid

    assert cluster.head_node is not None
    head = cluster.head_node.all_processes["raylet"][0].process.pid
    print(json.dumps({"address": cluster.address, "raylets": [head, *map(add, cpus[1:])]}), flush=True)
    for line in sys.stdin:
        word, _, argument = line.strip().partition(" ")
        match word:
            case "slots":
                answer: Any = _slots(cluster.address)
            case "pretend":
                _pretend(cluster.address, argument)
                answer = None
            case _:
                answer = add(int(argument))
        print(json.dumps(answer), flush=True)
    cluster.shutdown()


def _slots(address: str) -> dict[str, float]:
    import ray
    from ray.util import placement_group_table

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    groups = [group for group in placement_group_table().values() if group["state"] != "REMOVED"]
    total, free = ray.cluster_resources(), ray.available_resources()  # type: ignore[no-untyped-call]
    ray.shutdown()
    return {"total": total["CPU"], "free": free.get("CPU", 0), "groups": len(groups)}


def _pretend(address: str, version: str) -> None:
    import ray
    from ray._common.usage import usage_constants
    from ray.experimental import internal_kv

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    said = json.dumps({"ray_version": version, "python_version": "3.11.0"})
    where = usage_constants.CLUSTER_METADATA_KEY
    space = ray._private.ray_constants.KV_NAMESPACE_CLUSTER
    assert internal_kv._internal_kv_get(where, namespace=space)
    internal_kv._internal_kv_put(where, said, overwrite=True, namespace=space)
    ray.shutdown()


if __name__ == "__main__":
    _main([int(argument) for argument in sys.argv[1:]])
