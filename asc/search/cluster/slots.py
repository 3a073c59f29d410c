"""Ray Train on the slots that Ray Tune has set aside for a trial.

Ray Train's own way is a placement group of its own inside the trial. Tune then knows nothing of these slots, and when
it stops a trial a detached actor frees them once the dashboard tells it that the trial is gone: without a dashboard, or
with a second Ray on the machine, never (Ray 2.60; https://github.com/ray-project/ray/pull/58515). Here the workers take
the slots of the trial's own placement group: Tune queues a trial until there are enough, and the moment that it ends
frees them, and so ends whatever still runs there.

Three methods of Ray's that are not public are replaced; the version of Ray is pinned.
"""

from typing import Any

import ray
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.placement_group import get_current_placement_group


class _TunesSlots(DefaultPlacementGroupHandle):
    """The placement group of the trial, which is Tune's to remove."""

    def shutdown(self) -> None:
        """Leave it."""


class _NoMoreSlots(FixedScalingPolicy):
    """As many workers as were asked for; Tune has seen to their slots, so an autoscaler is asked for nothing."""

    def after_controller_start(self, train_run_context: Any) -> None:
        """Register nowhere."""

    def _maybe_send_resource_request(self) -> None:
        pass


class _Group(WorkerGroup):
    """Workers in the bundles of the trial's placement group, one each."""

    def _create_placement_group(self, scaling_config: Any, worker_group_context: Any) -> _TunesSlots:
        group = get_current_placement_group()
        assert group is not None, "a trial's controller runs in the trial's placement group"
        return _TunesSlots(group)


class _Controller(TrainController):
    """What starts and watches the workers, in a process of its own."""

    worker_group_cls = _Group


class TunedTrainer(DataParallelTrainer):
    """Runs workers on the slots of the trial that it is used in; the trial holds a bundle for each."""

    def _create_default_callbacks(self) -> list[Any]:
        needless = (PlacementGroupCleanerCallback, DatasetsCallback)  # each would start a process for every trial
        return [callback for callback in super()._create_default_callbacks() if not isinstance(callback, needless)]

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        remote = ray.remote(num_cpus=0, runtime_env={"env_vars": get_env_vars_to_propagate()})(_Controller)
        policy = _NoMoreSlots(arguments["scaling_policy"].scaling_config)
        controller: Any = remote.remote(**{**arguments, "scaling_policy": policy})
        ray.get(controller.run.remote())
        return ray.get(controller.get_result.remote())
