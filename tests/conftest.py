"""A small data set on disk and a small experiment that trains in seconds instead of hours."""

import contextlib
import csv
import fcntl
import json
import logging
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from forked import Forked
from patience import PATIENCE_S
from safetensors.torch import load_file
from threadpoolctl import threadpool_limits

from asc.config.architecture import Architecture
from asc.config.augment import Augment
from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment, Schedule
from asc.config.front_end import FrontEnd
from asc.data.dataset import Dataset, open_dataset
from asc.training.train import train
from asc.training_results import Signal

RATE_HZ = 8000


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what the browser tests (`-m browser`) take: a folder for pictures, and one with searches to look at."""
    parser.addoption("--screenshots", metavar="DIR", help="keep the pictures of the browser tests here")
    parser.addoption(
        "--searches", metavar="DIR", help="the runs/ of two searches to look at; by default two small ones"
    )


def pytest_configure() -> None:
    """Make child processes obey Ctrl-C even if a shell runs the tests in the background, with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts several processes, and spread the files that start Ray among the others.

    Those wait for half of their time, and the others keep a processor busy: side by side, they leave none idle. They
    end before the others, because they take longest: at the end, one worker would be left with them.
    """
    for item in items:
        if "joint" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.processes)
    files = list(dict.fromkeys(item.path for item in items))
    waiting = [path for path in sorted(files, key=_place) if _place(path) < 2]
    places = {path: number / len(files) for number, path in enumerate(path for path in files if _place(path) == 2)}
    places |= {path: _WAITING_END * number / len(waiting) for number, path in enumerate(waiting)}
    items.sort(key=lambda item: places[item.path])


_WAITING_END = 0.8
"""The share of the files of a run after which none that waits begins."""


def _place(path: Path) -> int:
    """Which files begin first: the two longest, then those that start Ray; 2 for the others."""
    if path.name in ("test_documented.py", "test_search_workers.py"):
        return 0
    return 1 if path.name.startswith("test_search") else 2


@pytest.fixture(scope="session")
def tiny_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`meta.csv` of 4 classes x 12 places x 2 clips: slow or fast chirps in noise, 0.5 to 0.7 s at 8 kHz."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    rows = []
    for number, label in enumerate(("down_fast", "down_slow", "up_fast", "up_slow")):
        for place in range(12):
            for take in range(2):
                seconds = 0.5 + 0.1 * (place % 3)
                time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
                rate_hz = 12.0 if number % 2 == 0 else 5.0
                phase = (time_s * rate_hz + rng.random()) % 1.0
                sweep = phase if number >= 2 else 1 - phase
                tone = np.sin(2 * np.pi * np.cumsum(500 + 2000 * sweep) / RATE_HZ)
                wave = 0.1 * tone + 0.03 * rng.standard_normal(len(time_s))
                name = f"{label}-{place:02d}-{take}.wav"
                soundfile.write(folder / name, wave, RATE_HZ)
                fold = 1 + place % 4
                rows.append([name, label, "ab"[take], f"{label}-{place}", fold])
    with (folder / "meta.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["filename", "label", "device", "group", "fold"], *rows])
    return folder / "meta.csv"


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_dataset(tiny_csv: Path, tiny_cache: Path) -> Dataset:
    return open_dataset(DataChoice(f"csv:{tiny_csv}"), sample_rate_hz=RATE_HZ, cache=tiny_cache)


@pytest.fixture(scope="session")
def tiny_experiment() -> Experiment:
    return Experiment(
        front_end=FrontEnd(sample_rate_hz=RATE_HZ, dft_points=512, mel_bands=16),
        augment=Augment(crop_s=0.4),
        architecture=Architecture(
            widths=(8, 8),
            depths=(1, 1),
            se_bottlenecks=(2, 2),
            frequency_strides=(2, 2),
            time_strides=(2, 1),
            cardinality=2,
            classes=4,
        ),
        schedule=Schedule(cycles=2, epochs_per_cycle=3, batch_size=8, learning_rate_max=1e-2),
    )


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, tiny_experiment: Experiment, tiny_dataset: Dataset) -> Path:
    """A model file trained for a second or two, enough to recognise the classes of the tiny set."""
    folder = tmp_path_factory.mktemp("tiny_model")
    changes = {"schedule.epochs_per_cycle": 6, "augment.mixup_alpha": 0.0, "augment.speed_factors": [1.0]}
    experiment, cpu = tiny_experiment.updated(changes), torch.device("cpu")
    train(experiment, tiny_dataset, folder=folder, on_epoch=lambda metrics: Signal.CONTINUE, device=cpu)
    return folder / "model.safetensors"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Use one thread, since on tensors this small more threads only wait for each other."""
    torch.set_num_threads(1)
    threadpool_limits(limits=1)


@dataclass(frozen=True, kw_only=True)
class Joint:
    """Results of the processes of `joint_work.py`: metrics per training and worker, and tensors of two workers."""

    folder: Path
    three: list[dict[str, Any]]
    two: list[dict[str, Any]]
    alone: dict[str, Any]
    two_then_one: dict[str, Any]
    parts: list[dict[str, torch.Tensor]]


@pytest.fixture(scope="session")
def joint(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_csv: Path,
    tiny_cache: Path,
    tiny_dataset: Dataset,
    tiny_experiment: Experiment,
) -> Joint:
    """Run three real processes that train together over loopback; the data set is already packed."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "joint"
    with folder.with_suffix(".lock").open("a") as lock:  # one of pytest's own workers does it for all
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = folder.with_name(f"joint-{os.getpid()}")
            _train_jointly(unfinished, tiny_csv, tiny_cache, tiny_experiment)
            unfinished.rename(folder)

    def found(name: str) -> Any:
        return json.loads((folder / f"{name}.json").read_text())

    return Joint(
        folder=folder,
        three=[found(f"three-{rank}") for rank in range(3)],
        two=[found(f"two-{rank}") for rank in range(2)],
        alone=found("alone"),
        two_then_one=found("two_then_one"),
        parts=[load_file(folder / f"parts-{rank}.safetensors") for rank in range(2)],
    )


def _train_jointly(folder: Path, tiny_csv: Path, tiny_cache: Path, tiny_experiment: Experiment) -> None:
    folder.mkdir()
    (folder / "tiny.toml").write_text(tiny_experiment.to_toml())
    script = Path(__file__).parent / "support" / "joint_work.py"
    arguments = [str(folder), str(tiny_csv), str(tiny_cache), str(folder / "tiny.toml")]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    processes = [Forked([str(script), str(rank), *arguments], cwd=folder, env=environment) for rank in range(3)]
    try:
        said = [process.communicate(timeout=PATIENCE_S)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0], said
    finally:
        for process in processes:
            process.kill()


@pytest.fixture
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """Simulate a full disk: within the context, growing a file beyond `size_bytes` raises `OSError` (EFBIG)."""

    @contextlib.contextmanager
    def limited(size_bytes: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


class ObjectStore:
    """moto's S3 server on 127.0.0.1, in a thread of this process. Its data survives `stop`."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._kind = ThreadedMotoServer
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        self._server.start()
        self.port: int = self._server.get_host_and_port()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server = self._kind(ip_address="127.0.0.1", port=self.port)
        self._server.start()

    def bucket(self, name: str) -> str:
        """Create a bucket and return its URI."""
        import requests

        requests.put(f"{self.endpoint}/{name}", timeout=PATIENCE_S).raise_for_status()
        return f"s3://{name}?endpoint_override=127.0.0.1:{self.port}&scheme=http"


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """An S3 server, with credentials for it in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("ACCESS_KEY_ID", "test"),
            ("SECRET_ACCESS_KEY", "test"),
            ("EC2_METADATA_DISABLED", "true"),
        ):
            patch.setenv(f"AWS_{name}", value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        store = ObjectStore()
        yield store
        store.stop()
