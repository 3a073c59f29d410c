"""The environment variables that configure Ray. Set them before Ray is imported: it reads some only then."""

import os

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # we journal and show a worker's death; Ray must not print it on stdout
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # Tune's own state of all trials, which nobody reads: saved only at the start and at the end.
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
    # A worker may still be busy after its function's last report; if it is not reset in time, its next trial is lost.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    # How long Ray waits for its own node to start. The default of 30 s is too short for a busy machine.
    "RAY_raylet_start_wait_time_s": "120",
    # After this long without its control service Ray ends this process at once. It leaves us time to save the results.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "300",
    # Ray would start a process for each CPU at once, which no trial uses: Tune's workers are processes of their own.
    "RAY_prestart_worker_first_driver": "0",
}
# Without this Ray's processes listen on every interface, even when it runs on one machine only.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def prepare(*, local: bool) -> None:
    """Make Ray quiet and, if `local`, bind it to loopback. Call this before Ray is imported."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if local:
        os.environ.update(_LOOPBACK)


def is_prepared(*, local: bool) -> bool:
    """Whether the environment is what `prepare` makes it."""
    loopback = all(os.environ.get(name) == value for name, value in _LOOPBACK.items())
    return all(name in os.environ for name in _QUIET) and loopback == local
