"""Runs a script as a process of its own that is forked from one with torch, Ray and MLflow already imported.

Starting Python anew for each of some hundred processes takes the suite minutes, nearly all of it for imports. The
process has the script's own command line, environment, folder and session. Only its entry in /proc shows the command
line and environment of the fork server: to look at these, start the script with `subprocess`. The workers that Ray
starts for it are forked as well (`forks.py`).
"""

import atexit
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import forks

SUPPORT = Path(__file__).resolve().parent
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["preloaded"])


class Forked:
    """A running script; the methods are those of `subprocess.Popen`, whose text output is read at the end."""

    def __init__(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        """Run a script with its arguments, in a session of its own."""
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name) / name for name in ("out", "err")]
        arguments = (list(command), str(cwd), {**env, **forking()}, [str(path) for path in self._outputs])
        self._process = _FORKS.Process(target=_run, args=arguments)
        with _importing_support():
            self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the number of the signal that ended the process; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return `returncode`."""
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end, and return the whole standard output and standard error.

        Raises:
            TimeoutError: the process still runs after `timeout` seconds.
        """
        self._process.join(timeout)
        if self._process.is_alive():
            raise TimeoutError(f"process {self.pid} still runs")
        out, err = (path.read_text() if path.exists() else "" for path in self._outputs)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        self.send_signal(signal.SIGKILL)


def _importing_support() -> ExitStack:
    """In this context, a new fork server finds the modules of this folder and of the checkout."""
    stack, before = ExitStack(), os.environ.get("PYTHONPATH")

    def restore() -> None:
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before

    stack.callback(restore)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), str(SUPPORT.parents[1]), *filter(None, [before])])
    return stack


@cache
def forking() -> dict[str, str]:
    """Start the process that forks workers; return the environment in which `forks.stand_in` finds it."""
    folder = Path(tempfile.mkdtemp(prefix="asc"))
    atexit.register(shutil.rmtree, folder)
    forks.write_python(folder)
    command = [sys.executable, str(SUPPORT / "forks.py"), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None and server.stdout is not None
    atexit.register(server.wait)
    atexit.register(server.stdin.close)  # called before the others: it ends the server
    assert server.stdout.readline() == b"ready\n"
    return {"ASC_PYTHON": str(folder / "python")}


def _run(command: list[str], cwd: str, env: dict[str, str], outputs: list[str]) -> None:
    os.setsid()
    handles = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in outputs]
    forks.enter(cwd, env, dict(zip((1, 2), handles, strict=True)))
    forks.stand_in()
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    try:
        runpy.run_path(command[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()
