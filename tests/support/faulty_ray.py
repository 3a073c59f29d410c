"""Run a script of launch/ with a fault in Ray that tests cannot cause reliably on every machine.

python faulty_ray.py FAULT SCRIPT OPTION ...

- `memory`: a worker's death is reported as if Ray's memory monitor had killed it.
- `slow-start`: the first node that Ray starts is not up within the 30 s that Ray allows.
- `system`: after the first epoch in the journal, Ray raises RaySystemError.
- `fault-of-ours`: after the first epoch in the journal, asc itself raises.
"""

import runpy
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

LOW = "1 worker(s) were killed due to the node running low on memory."


def main(fault: str, script: str, *options: str) -> None:
    """Install the fault, then run the script."""
    sys.path.insert(0, str(Path(script).parents[1]))
    from asc.search.cluster import environment

    environment.prepare(local=True)
    {"memory": memory, "slow-start": slow_start, "system": system, "fault-of-ours": fault_of_ours}[fault]()
    sys.argv = [script, *options]
    runpy.run_path(script, run_name="__main__")


def memory() -> None:
    """Replace only the type of the error. The worker's death and what follows are real."""
    import ray
    from ray.air.execution._internal import event_manager
    from ray.exceptions import ActorDiedError, OutOfMemoryError

    def get(future: Any) -> Any:
        try:
            return ray.get(future)
        except ActorDiedError as error:
            raise OutOfMemoryError(LOW) from error  # type: ignore[no-untyped-call]

    event_manager.ray = SimpleNamespace(get=get, wait=ray.wait)  # type: ignore[attr-defined, assignment]


def slow_start() -> None:
    """Hide from Ray that the node is up."""
    import ray

    first: list[str] = []
    real = ray._private.services.get_node

    def get_node(address: str, node: str) -> Any:
        first.append(node)
        if node != first[0]:
            return real(address, node)  # type: ignore[no-untyped-call]
        time.sleep(1)
        raise RuntimeError("no such node")

    ray._private.services.get_node = get_node


def system() -> None:
    """Patch the `ray.wait` that Tune calls in its loop."""
    import ray
    from ray.air.execution._internal import actor_manager
    from ray.exceptions import RaySystemError

    heard = epochs_heard()

    def wait(*arguments: Any, **options: Any) -> Any:
        if heard:
            raise RaySystemError("the object store has lost its memory")  # type: ignore[no-untyped-call]
        return ray.wait(*arguments, **options)

    given = {name: getattr(ray, name) for name in ("ObjectRef", "actor", "get", "kill", "remote")}
    actor_manager.ray = SimpleNamespace(**given, wait=wait)  # type: ignore[attr-defined, assignment]


def fault_of_ours() -> None:
    """Patch the stopper that Tune calls at each step."""
    from asc.search.cluster.ray_adapters import EndOfSearch

    heard = epochs_heard()

    def stop_all(self: Any) -> bool:
        return bool(1 / 0) if heard else False

    EndOfSearch.stop_all = stop_all  # type: ignore[method-assign]


def epochs_heard() -> list[Any]:
    """Return a list that grows by one entry for each epoch reported to the conductor."""
    from asc.search.conductor import Conductor

    heard: list[Any] = []
    real = Conductor.epoch_done

    def epoch_done(self: Any, worker: str, metrics: Any) -> bool:
        heard.append(metrics)
        return real(self, worker, metrics)

    Conductor.epoch_done = epoch_done  # type: ignore[method-assign]
    return heard


if __name__ == "__main__":
    main(*sys.argv[1:])
