"""Journals of searches and trainings, an empty MLflow database to copy, and a real MLflow server on loopback."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow_server import Server

os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_LOGGING_LEVEL="WARNING")

from patience import PATIENCE_S

from asc.results import StoredSize
from asc.runs.events import EpochDone, Event, RunEnded, RunResumed, RunStarted, TrialAsked, TrialEnded
from asc.runs.journal import Journal
from asc.training_results import EpochMetrics

BUILT = StoredSize(parameters=9, size_bytes=80_128, nonzero_parameters=9, nonzero_bytes=80_128, file_bytes=83_128)


class Script:
    """Writes the journal of a run like a search or a training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(folder / "journal.jsonl")

    def say(self, *events: Event) -> None:
        for event in events:
            self.journal.append(event)

    def started(self, kind: str = "search", **settings: object) -> None:
        self.say(
            RunStarted(
                name=self.folder.name,
                kind=kind,  # type: ignore[arg-type]
                settings={"budget_kb": 128.0, "seed": 7, **settings},  # type: ignore[dict-item]
                git_commit="abc123",
                space="[ranges]\nx = 1\n",
            )
        )

    def asked(self, trial: str, **config: object) -> None:
        values = {"seed": 7, "architecture.widths.0": 16, "schedule.learning_rate_max": 1e-3, **config}
        self.say(
            TrialAsked(
                trial=trial,
                title=f"{trial} w16-32 c4 78.3 KB",
                point={**values, "architecture.widths.0": 40},  # type: ignore[dict-item]
                config=values,  # type: ignore[arg-type]
                repaired=True,
                parameters=70_000,
                size_bytes=80_128,
                nonzero_parameters=1000,
                nonzero_bytes=80_128,
                file_bytes=83_128,
                macs_per_second=12_000_000,
                peak_activation_bytes=400_000,
            )
        )

    def epoch(self, trial: str, epoch: int) -> None:
        metrics = EpochMetrics(
            epoch=epoch,
            learning_rate=1e-3 / epoch,
            train_loss=2.0 / epoch,
            valid_log_loss=2.5 / epoch,
            valid_accuracy=1 - 0.8 / epoch,
            seconds=3.0,
        )
        self.say(EpochDone(trial=trial, metrics=metrics, checkpoint=f"checkpoints/{trial}.safetensors"))

    def ended(self, trial: str, outcome: str = "completed", log_loss: float | None = None, epochs: int = 3) -> None:
        done = outcome == "completed"
        self.say(
            TrialEnded(
                trial=trial,
                outcome=outcome,  # type: ignore[arg-type]
                epochs=epochs,
                seconds=9.5,
                log_loss=log_loss if done else None,
                accuracy=0.7 if done else None,
                built=BUILT if done else None,
                reason=None if done else f"it {outcome}",
            )
        )

    def trial(self, trial: str, outcome: str = "completed", log_loss: float | None = None, epochs: int = 3) -> None:
        self.asked(trial)
        for epoch in range(1, epochs + 1):
            self.epoch(trial, epoch)
        self.ended(trial, outcome, log_loss, epochs)

    def resumed(self, **settings: object) -> None:
        self.say(RunResumed(settings=settings))  # type: ignore[arg-type]

    def run_ended(self, outcome: str = "finished", best: str | None = None) -> None:
        self.say(RunEnded(outcome=outcome, best=best))  # type: ignore[arg-type]

    def files(self, model: bytes = b"weights", card: str = "# night\n") -> None:
        best = self.folder / "best"
        best.mkdir(exist_ok=True)
        (best / "model.safetensors").write_bytes(model)
        (best / "config.toml").write_text("schema = 1\n")
        (best / "model_card.md").write_text(card)
        (self.folder / "leaderboard.csv").write_text("trial,log_loss\n")


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    written = Script(tmp_path / "runs" / "night")
    yield written
    written.journal.close()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables, which take seconds to create."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def old_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of an older MLflow, with one run."""
    from old_database import write_database

    path = tmp_path_factory.mktemp("old") / "mlflow.db"
    write_database(path)
    return path


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> str:
    """The URI of a new database for this test alone."""
    path = tmp_path / "store" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(empty_database, path)
    return f"sqlite:///{path}"


@pytest.fixture
def own_server(tmp_path: Path, empty_database: Path) -> Iterator[Server]:
    """A server for this test alone, not yet started, with an empty database."""
    folder = tmp_path / "own_server"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    one = Server(folder)
    yield one
    one.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Server]:
    """A server shared by tests: it may be running already, and its database may hold data of other tests."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "mlflow.db")
    one = Server(folder)
    yield one
    one.stop()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """A function that polls a condition until it holds."""

    def wait(holds: Callable[[], bool], limit_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + limit_s
        while not holds():
            assert time.monotonic() < deadline, "the condition never held"
            time.sleep(0.05)

    return wait
