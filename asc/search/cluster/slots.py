"""Runs Ray Train on the resources that Ray Tune has reserved for a trial.

By default Ray Train creates a second placement group inside the trial, which Tune does not know. When Tune stops a
trial, a detached actor frees that group once the dashboard reports that the trial is gone. Without a dashboard, or with
a second Ray on the machine, that never happens (Ray 2.60; https://github.com/ray-project/ray/pull/58515). Here the
workers use the trial's own placement group. Tune queues a trial until the group can be placed and frees it when the
trial ends, which also ends any process that still runs in it.

Three private methods of Ray are replaced; the version of Ray is pinned.
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
    """The placement group of the trial, which Tune removes."""

    def shutdown(self) -> None:
        """Do nothing: Tune removes the group."""


class _NoMoreSlots(FixedScalingPolicy):
    """A fixed number of workers. It asks no autoscaler for resources, because Tune has reserved them."""

    def after_controller_start(self, train_run_context: Any) -> None:
        """Do not register with an autoscaler."""

    def _maybe_send_resource_request(self) -> None:
        pass


class _Group(WorkerGroup):
    """Workers in the bundles of the trial's placement group, one per bundle."""

    def _create_placement_group(self, scaling_config: Any, worker_group_context: Any) -> _TunesSlots:
        group = get_current_placement_group()
        assert group is not None, "a trial's controller runs in the trial's placement group"
        return _TunesSlots(group)


class _Controller(TrainController):
    """Starts and watches the workers, in a separate process."""

    worker_group_cls = _Group


class TunedTrainer(DataParallelTrainer):
    """Runs workers in the placement group of the current trial, which has a bundle for each worker."""

    def _create_default_callbacks(self) -> list[Any]:
        needless = (PlacementGroupCleanerCallback, DatasetsCallback)  # each would start a process for every trial
        return [callback for callback in super()._create_default_callbacks() if not isinstance(callback, needless)]

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        remote = ray.remote(num_cpus=0, runtime_env={"env_vars": get_env_vars_to_propagate()})(_Controller)
        policy = _NoMoreSlots(arguments["scaling_policy"].scaling_config)
        controller: Any = remote.remote(**{**arguments, "scaling_policy": policy})
        ray.get(controller.run.remote())
        return ray.get(controller.get_result.remote())
