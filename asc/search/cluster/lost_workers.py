"""Limits the loss of a worker to its own trial, whatever error Ray raises for it.

Tune's actor manager handles two kinds of failure: a worker that died (`RayActorError`) and a function that raised
(`RayTaskError`). Any other Ray error about a worker, such as the memory monitor's `OutOfMemoryError`, makes
`Tuner.fit()` raise a RuntimeError that ends the whole search, whatever `max_failures` is (Ray 2.60). No setting changes
that. So one private method of that manager is replaced; the version of Ray is pinned.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from ray.air.execution import _internal
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller


class _Manager(_internal.RayActorManager):
    """Treats every Ray error about a worker as the death of that worker."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, (RayActorError, RayTaskError)):
            exception = RayActorError(error_msg=f"The actor died: {type(exception).__name__}: {exception}")
        super()._actor_task_failed(tracked_actor_task, exception)


@contextlib.contextmanager
def cost_one_trial() -> Iterator[None]:
    """In this context, a search that loses a worker loses only that worker's trial."""
    before = tune_controller.RayActorManager  # type: ignore[attr-defined]
    tune_controller.RayActorManager = _Manager  # type: ignore[attr-defined]
    try:
        yield
    finally:
        tune_controller.RayActorManager = before  # type: ignore[attr-defined]
