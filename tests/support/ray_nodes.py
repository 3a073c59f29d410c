"""A Ray cluster of several nodes on this machine, as a process of its own; prints where it is and ends with its input.

Run as a script: `python ray_nodes.py CPUS CPUS ...`, the head's first. Everything listens on loopback only.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback only
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """Where the cluster is, and the pids of its raylets, the head's first."""

    address: str
    raylets: tuple[int, ...]


@contextmanager
def nodes(*cpus: int, environment: dict[str, str]) -> Iterator[Nodes]:
    """A cluster of nodes with so many CPUs each, for as long as the context lasts."""
    command = [sys.executable, __file__, *map(str, cpus)]
    with subprocess.Popen(
        command, env={**environment, **ENVIRONMENT}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        try:
            yield Nodes(address=said["address"], raylets=tuple(said["raylets"]))
        finally:
            process.communicate("end\n", timeout=60)


def _main(cpus: list[int]) -> None:
    os.environ.update(ENVIRONMENT)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus[0], "include_dashboard": True})
    others = [cluster.add_node(num_cpus=count) for count in cpus[1:]]
    raylets = [node.all_processes["raylet"][0].process.pid for node in (cluster.head_node, *others)]
    print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
    sys.stdin.readline()
    cluster.shutdown()


if __name__ == "__main__":
    _main([int(argument) for argument in sys.argv[1:]])
