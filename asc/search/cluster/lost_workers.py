"""Makes the loss of a worker cost one trial, whatever the reason that Ray gives for it.

Tune's actor manager knows two kinds of failure, a worker that died (`RayActorError`) and a function that raised
(`RayTaskError`). Any other error of Ray's about a worker, such as `OutOfMemoryError` of its memory monitor, leaves
`Tuner.fit()` as a RuntimeError that ends the whole search, however often a trial may fail (Ray 2.60). There is no
setting for it. So one method of that manager, which is not public, is replaced; the version of Ray is pinned.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from ray.air.execution import _internal
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller


class _Manager(_internal.RayActorManager):
    """Takes every error of Ray's about a worker for the loss of that worker."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, (RayActorError, RayTaskError)):
            exception = RayActorError(error_msg=f"The actor died: {type(exception).__name__}: {exception}")
        super()._actor_task_failed(tracked_actor_task, exception)


@contextlib.contextmanager
def cost_one_trial() -> Iterator[None]:
    """Within it, a search that is started loses no more than the trials of the workers that it loses."""
    before = tune_controller.RayActorManager  # type: ignore[attr-defined]
    tune_controller.RayActorManager = _Manager  # type: ignore[attr-defined]
    try:
        yield
    finally:
        tune_controller.RayActorManager = before  # type: ignore[attr-defined]
