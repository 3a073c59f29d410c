"""Starts Ray on this machine or joins a running cluster, for the time of a search; each refusal is one sentence.

Call `asc.search.cluster.environment.prepare` before this module is imported.
"""

import contextlib
import logging
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import ray
from ray._common.utils import get_default_ray_temp_dir
from ray.exceptions import AuthenticationError

from asc.errors import InputError
from asc.search.cluster.lean_node import lean_nodes
from asc.search.settings import SearchSettings

_ATTEMPTS = 2
_LOOK_EVERY_S, _MOST_MISSED, _STUCK_S = 2.0, 5, 20.0
# Ray's logs and sockets take some MB per search; without room its processes wait for each other until they time out.
_LEAST_BYTES = 50_000_000

_ELSEWHERE = "RAY_TMPDIR names another folder for Ray's own files"


@contextlib.contextmanager
def joined(settings: SearchSettings, say: Callable[[str], None]) -> Iterator[None]:
    """Run Ray, without its log output: a local instance on loopback, or the cluster at `--address`.

    Raises:
        InputError: Ray does not start here, the cluster at `--address` does not accept this process, or a trial asks
            for more than this machine has.
    """
    terminations = signal.getsignal(signal.SIGTERM)
    try:
        _start(settings, say) if settings.local else _join(settings)
        signal.signal(signal.SIGTERM, terminations)  # Ray's own handler would end this process at once
        _check_resources(settings, say)
        yield
    finally:
        signal.signal(signal.SIGTERM, terminations)
        ray.shutdown()


def _start(settings: SearchSettings, say: Callable[[str], None]) -> None:
    """Start Ray on this machine; try a second time if the first start fails."""
    check_folder(Path(str(get_default_ray_temp_dir())))  # type: ignore[no-untyped-call]
    for attempt in range(1, _ATTEMPTS + 1):
        before = _children().keys()
        try:
            with lean_nodes():
                ray.init(
                    address="local",
                    num_cpus=settings.max_concurrent * settings.cpus_per_trial,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                )
            return
        except Exception as error:  # Ray raises a plain Exception if it does not start in time
            _end(_children().keys() - before)
            if isinstance(error, OSError):
                where = f"{error.filename}: " if error.filename else ""
                raise InputError(f"Ray cannot start: {where}{error.strerror or error}; {_ELSEWHERE}") from error
            if attempt == _ATTEMPTS:
                raise InputError(
                    f"Ray did not start on this machine in {_ATTEMPTS} attempts ({_first_sentence(error)}): it is too "
                    f"busy, or short of memory or processes (load {os.getloadavg()[0]:.1f}); try again later"
                ) from error
            say(f"Ray did not start in time ({_first_sentence(error)}); trying once more")


def _children() -> dict[int, str]:
    """The names of this process's living children, by pid."""
    import psutil  # shipped with Ray, which makes it importable

    found = dict[int, str]()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                found[child.pid] = child.name()
    return found


def _end(processes: set[int]) -> None:
    """End the processes that a failed start of Ray left behind; they would otherwise run until this process ends."""
    ray.shutdown()
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def check_folder(folder: Path) -> None:
    """Check that a folder has room for Ray's own files; it need not exist yet.

    Raises:
        InputError: it has too little room or is not writable.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"Ray cannot start: {there} is not a writable folder; {_ELSEWHERE}")
    if (free := shutil.disk_usage(there).free) < _LEAST_BYTES:
        raise InputError(
            f"Ray cannot start: {there} has only {free / 1e6:.0f} MB free, and it needs {_LEAST_BYTES / 1e6:.0f} MB: "
            f"make room there; {_ELSEWHERE}"
        )


def _join(settings: SearchSettings) -> None:
    try:
        ray.init(address=settings.address, log_to_driver=False, logging_level=logging.CRITICAL)
    except AuthenticationError as error:
        raise InputError(
            f"Ray finds no valid token ({_first_sentence(error)}): put the cluster's token into ~/.ray/auth_token, or "
            "name its file in RAY_AUTH_TOKEN_PATH"
        ) from error
    except Exception as error:  # of many types, some undocumented; each means that the cluster refuses us
        _end(set())
        said = f"{error} {error.__cause__ or ''}"
        if "ersion mismatch" in said:
            versions = " ".join(said[said.index("ersion mismatch") - 1 :].split())
            raise InputError(
                f"--address {settings.address}: Python or Ray differs from the cluster's ({versions}): all nodes need "
                "the same versions, including the patch number"
            ) from error
        raise InputError(
            f"--address {settings.address}: no Ray cluster answers there, or it rejects this machine's token "
            f"(~/.ray/auth_token) ({_first_sentence(error)}); start one, or leave --address out to run here"
        ) from error


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).partition(". ")[0].split())[:200] or type(error).__name__


@contextlib.contextmanager
def watched(
    settings: SearchSettings, on_lost: Callable[[str], None], on_stuck: Callable[[], None] | None = None
) -> Iterator[None]:
    """Call `on_lost` from a thread when Ray has died, and `on_stuck` if the context is not left soon after that.

    Without its control service Ray neither answers nor raises: it blocks the calling thread, and after some minutes it
    ends the process at once.
    """
    address: str = ray.get_runtime_context().gcs_address
    processes = {"gcs_server", "raylet"} if settings.local else set()
    over = threading.Event()

    def watch() -> None:
        missed = 0
        while missed < _MOST_MISSED:
            if over.wait(_LOOK_EVERY_S):
                return
            missed = 0 if _answers(address) and processes <= set(_children().values()) else missed + 1
        on_lost("Ray has died in the middle of the search (killed, or its node is gone)")
        if not over.wait(_STUCK_S) and on_stuck is not None:
            on_stuck()

    thread = threading.Thread(target=watch, name="ray watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _answers(address: str) -> bool:
    """Whether anything listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_LOOK_EVERY_S).close()
    except OSError:
        return False
    return True


def _check_resources(settings: SearchSettings, say: Callable[[str], None]) -> None:
    """Check that Ray has the CPUs and GPUs that a trial asks for.

    Ray does not refuse a larger trial but makes it wait: for ever on this machine, until nodes join on a cluster.

    Raises:
        InputError: a trial asks for more than this machine has.
    """
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    for name, wanted in (("CPU", settings.cpus_per_trial), ("GPU", settings.gpus_per_trial)):
        has = there.get(name, 0)
        if wanted > has and settings.local:
            raise InputError(f"--{name.lower()}s-per-trial {wanted:g} is more than Ray has ({has:g}): ask for less")
        if wanted > has:
            say(
                f"the cluster has {has:g} {name}s now and a trial needs {wanted:g}: trials wait until nodes join (`ray "
                "status` shows whether any are starting; Ctrl-C ends the search)"
            )
