"""What Ray is told by environment variables, before it is imported: it reads some of them only then."""

import os

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # a worker that died is journalled and shown by us, not printed on stdout
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # Tune's own state of all trials, which nobody reads: once at the start and once at the end.
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
    # A worker whose function has said its last word may be busy; a trial that cannot be reset in time would be lost.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    # How long Ray waits for its own node to come up, which takes a busy machine longer than the 30 s it has else.
    "RAY_raylet_start_wait_time_s": "120",
    # After so long without its control service Ray ends this process on the spot: time to write what is there.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "300",
}
# Without this Ray's processes listen on every interface, even on a machine of its own.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def prepare(*, local: bool) -> None:
    """Make Ray quiet and, where it runs for this machine alone, bind it to loopback. Call it before Ray is imported."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if local:
        os.environ.update(_LOOPBACK)
