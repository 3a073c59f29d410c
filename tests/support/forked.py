"""Runs a script as a process of its own that is forked from one with torch, Ray and MLflow already imported.

Starting Python anew for each of some hundred processes takes the suite minutes, nearly all of it for imports. The
process has the script's own command line, environment, folder and session. Only its entry in /proc shows the command
line and environment of the fork server: to look at these, start the script with `subprocess`.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["preloaded"])


class Forked:
    """A running script; the methods are those of `subprocess.Popen`, whose text output is read at the end."""

    def __init__(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        """Run a script with its arguments, in a session of its own."""
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name) / name for name in ("out", "err")]
        arguments = (list(command), str(cwd), dict(env), [str(path) for path in self._outputs])
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


def _run(command: list[str], cwd: str, env: dict[str, str], outputs: list[str]) -> None:
    os.setsid()
    os.chdir(cwd)
    for stream, path in zip((1, 2), outputs, strict=True):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, stream)
        os.close(handle)
    os.environ.clear()
    os.environ.update(env)
    import torch

    torch.set_num_threads(int(env.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    try:
        runpy.run_path(command[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()
