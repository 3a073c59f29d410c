"""What Tune's actor manager does with errors about a worker; no Ray is running."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError, RayActorError, RaySystemError
from ray.tune.execution import tune_controller

from asc.search.cluster.lost_workers import cost_one_trial

LOW = "2 worker(s) were killed due to the node running low on memory."


def heard(error: Exception) -> list[tuple[str, Exception]]:
    """What Tune hears of a worker whose task ends with an error."""
    found: list[tuple[str, Exception]] = []
    actor = SimpleNamespace(actor_id=1, _on_error=lambda actor, error: found.append(("worker", error)))
    task: Any = SimpleNamespace(_tracked_actor=actor, _on_error=lambda actor, error: found.append(("task", error)))
    manager: Any = tune_controller.RayActorManager(None)  # it would start a Ray
    manager._cleanup_actor = lambda tracked_actor: None  # there is none
    manager._actor_task_failed(task, error)
    return found


@pytest.mark.parametrize("error", [OutOfMemoryError(LOW), NodeDiedError("gone"), RaySystemError("broken")])
def test_an_error_of_rays_about_a_worker_is_the_loss_of_that_worker(error: Exception) -> None:
    with pytest.raises(RuntimeError, match="Caught unexpected exception"):
        heard(error)
    with cost_one_trial():
        (who, one), (then, other) = heard(error)
    assert (who, then) == ("worker", "task") and one is other
    assert isinstance(one, RayActorError) and f"{type(error).__name__}: {error}" in str(one)
    with pytest.raises(RuntimeError, match="Caught unexpected exception"):
        heard(error)


def test_the_death_of_a_worker_is_passed_on_as_it_is_and_what_is_not_rays_is_raised() -> None:
    died = ActorDiedError()
    with cost_one_trial():
        assert [error for _, error in heard(died)] == [died, died]
        with pytest.raises(RuntimeError, match="division by zero"):
            heard(ZeroDivisionError("division by zero"))
