"""Forks Ray's workers from a process that has imported torch and more, as `forked.py` forks scripts.

    python forks.py FOLDER

A worker that starts Python anew imports for two to three seconds, and a search starts one or more. So a forked script
has another `sys.executable`, a stand-in (`forking_python.py`). When Ray starts a worker with it, the stand-in sends the
command line, environment, folder and streams to this process, which forks the worker. Ray knows a worker by the pid
that the worker tells it. All else that Ray starts are fresh processes.

Ray itself is not imported before the fork, because it reads its environment when it is imported.
"""

import gc
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any

SHIM = Path(__file__).with_name("forking_python.py")
ROOT = Path(__file__).resolve().parents[2]


def serve(folder: Path) -> None:
    """Fork the workers that are asked for at the socket `forks` in a folder, until standard input is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as waiting:
        server.bind(str(folder / "forks"))
        server.listen(64)
        print("ready", flush=True)
        waiting.register(server, selectors.EVENT_READ)
        waiting.register(sys.stdin, selectors.EVENT_READ)
        while all(key.fileobj is server for key, _ in waiting.select()):
            link, _ = server.accept()
            if os.fork() == 0:
                waiting.close()
                server.close()
                _, streams, _, _ = socket.recv_fds(link, 1, 3)
                with link.makefile("rb") as said:
                    asked = said.read()
                link.close()
                if not asked:  # who asked was killed meanwhile
                    os._exit(1)
                _work(streams, **json.loads(asked))
            link.close()


def write_python(folder: Path) -> None:
    """Write the program `python`, which stands in for Python, into the folder of the socket."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{SHIM}" "{folder / "forks"}" "$@"\n')
    program.chmod(0o700)


def stand_in() -> None:
    """Let Ray start the workers of this process with the stand-in for Python, if the environment names one."""
    sys.executable = os.environ.get("ASC_PYTHON", sys.executable)


def enter(cwd: str, env: dict[str, str], streams: dict[int, int]) -> None:
    """Give this process a folder, an environment, and what its streams are copies of.

    An open file whose name is the mark of a bench lets `search_bench.py` find the process: /proc has only the
    environment with which a program started, and no program starts here.
    """
    os.chdir(cwd)
    for stream, other in streams.items():
        os.dup2(other, stream)
        os.close(other)
    os.environ.clear()
    os.environ.update(env)
    if sys.platform == "linux":
        os.memfd_create(f"ASC_BENCH={env.get('ASC_BENCH', '')}")
    import torch

    torch.set_num_threads(int(env.get("OMP_NUM_THREADS", os.cpu_count() or 1)))


def _work(streams: list[int], *, command: list[str], cwd: str, env: dict[str, str], nice: int) -> None:
    """Be a worker of Ray, and end."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setpgid(0, 0)  # Ray kills a worker with all of its process group
        os.nice(nice - os.nice(0))
        enter(cwd, env, dict(enumerate(streams)))
        sys.argv, sys.path[0] = command, str(Path(command[0]).parent)
        _continue_here()
        runpy.run_path(command[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _continue_here() -> None:
    """Let Ray's set-up of a worker go on in this process, where it would start Python once more."""
    from ray._private.runtime_env.context import RuntimeEnvContext
    from ray._private.utils import update_envs

    def exec_worker(self: Any, passthrough_args: list[str], language: object) -> None:
        assert not self.command_prefix and not self.override_worker_entrypoint
        update_envs(self.env_vars)
        sys.argv = passthrough_args
        runpy.run_path(passthrough_args[0], run_name="__main__")

    RuntimeEnvContext.exec_worker = exec_worker  # type: ignore[method-assign]


def _preload() -> None:
    """Import what a worker imports, but for Ray."""
    os.environ["OMP_WAIT_POLICY"] = "passive"  # as the launchers set it; OpenMP reads it when torch is imported
    sys.path.insert(0, str(ROOT))
    import aiohttp  # noqa: F401
    import jsonschema  # type: ignore[import-untyped]  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.fs  # noqa: F401
    import pydantic  # noqa: F401
    import requests  # noqa: F401
    import rich.console  # noqa: F401

    from asc.audio.torchaudio_compat import torchaudio
    from asc.data import dataset  # noqa: F401
    from asc.search.cluster import trial  # noqa: F401
    from asc.training import train  # noqa: F401

    torchaudio()
    assert "ray" not in sys.modules
    sys.path.remove(str(ROOT))
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _preload()
    serve(Path(sys.argv[1]))
