"""A real MLflow server on loopback that a test can stop and restart; its database is kept."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import requests
from patience import PATIENCE_S


class Server:
    """An MLflow server on a fixed loopback port, started when asked.

    `uri_by_another_name` uses 127.1, which every C library resolves to 127.0.0.1. MLflow's server does not know it
    and treats it like any host name, such as that of a service in a cluster.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.uri_by_another_name = f"http://127.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        if self._process is not None:
            return
        database = f"sqlite:///{self._folder / 'mlflow.db'}"
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", database]
        command += ["--artifacts-destination", str(self._folder / "artefacts"), *options]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self._folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=self._folder
            )

    def answers(self) -> bool:
        """Whether the server is up."""
        try:
            return requests.get(f"{self.uri}/health", timeout=PATIENCE_S).ok
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
