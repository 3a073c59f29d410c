"""A run's folder and its mirror in a bucket on moto's S3 server, also after the run or the server dies."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE_S

from asc.errors import InputError
from asc.run_files import JOURNAL
from asc.runs.bucket import Bucket, StorageError
from asc.runs.events import EpochDone, FinalAsked, RunEnded, RunStarted, TrialAsked, TrialEnded
from asc.runs.folder import new_run_folder, run_folder
from asc.runs.journal import Journal, read_journal
from asc.runs.mirror import Mirror, mirrored
from asc.runs.record import fold
from asc.runs.storage import bucket_of, check_storage
from asc.training_results import EpochMetrics

CHECKPOINTS = ("last.safetensors", "best.safetensors")


@pytest.fixture(scope="module")
def uri(object_store: Any) -> str:
    made: str = object_store.bucket("mirrors")
    return made


@pytest.fixture
def storage(uri: str, request: pytest.FixtureRequest) -> str:
    """A storage address for this test alone."""
    return uri.replace("?", f"/{request.node.name}?")


@pytest.fixture
def bucket(storage: str) -> Bucket:
    found = bucket_of(storage)
    assert found is not None
    return found.at("night")


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def journal(storage: str) -> Iterator[Journal]:
    """A new run in ./runs."""
    opened = Journal(new_run_folder(storage, "night") / JOURNAL)
    opened.append(RunStarted(name="night", kind="search", settings={}))
    yield opened
    opened.close()


def asked(trial: str) -> TrialAsked:
    counts = dict.fromkeys(
        ("parameters", "size_bytes", "nonzero_parameters", "nonzero_bytes", "file_bytes", "macs_per_second"), 1
    )
    return TrialAsked(
        trial=trial, title=trial, point=None, config={}, repaired=False, peak_activation_bytes=1, **counts
    )


def ended(trial: str, outcome: str = "completed") -> TrialEnded:
    log_loss = 1.0 if outcome == "completed" else None
    return TrialEnded(trial=trial, outcome=outcome, epochs=1, seconds=1.0, log_loss=log_loss)  # type: ignore[arg-type]


def epoch(trial: str, number: int) -> EpochDone:
    metrics = EpochMetrics(
        epoch=number, learning_rate=1e-3, train_loss=1.0, valid_log_loss=1.0, valid_accuracy=0.5, seconds=1.0
    )
    return EpochDone(trial=trial, metrics=metrics, checkpoint="x")


def upload_checkpoints(bucket: Bucket, trial: str, *more: str) -> None:
    """Upload what a worker uploads."""
    for name in (*CHECKPOINTS, *more):
        bucket.put(f"trials/{trial}/{name}", b"x")


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


def test_a_running_search_is_mirrored_and_checkpoints_of_ended_trials_are_removed(
    journal: Journal, storage: str, bucket: Bucket
) -> None:
    folder, said = journal.path.parent, []
    upload_checkpoints(bucket, "t007")  # of a trial that this journal does not know, as its entries were lost
    with mirrored(journal, said.append):
        assert bucket.get(JOURNAL) == journal.path.read_bytes()
        assert not any("t007" in name for name in bucket.sizes())
        for trial in ("t000", "t001", "t002"):
            journal.append(asked(trial))
            upload_checkpoints(bucket, trial, "model.safetensors")
        journal.append(ended("t000"))
        wait_for(lambda: "trials/t000/last.safetensors" not in bucket.sizes())
        there = bucket.get(JOURNAL)
        assert there is not None and b"TrialEnded" in there, (
            "the journal must be uploaded before checkpoints are removed"
        )
        journal.append(ended("t001", "stopped"))
        bucket.put("trials/t000/last.safetensors", b"late")  # by a worker that learnt of the end too late
        (folder / "best").mkdir()
        for name in (
            "best/model.safetensors",
            "best/config.toml",
            "leaderboard.csv",
            "leaderboard.json",
            "report.html",
            "mlflow.json",
        ):
            (folder / name).write_text(name)
        journal.append(RunEnded(outcome="interrupted", best="t000"))
    assert said == []
    assert bucket.get(JOURNAL) == journal.path.read_bytes()
    assert bucket.get("best/model.safetensors") == b"best/model.safetensors"
    assert set(bucket.sizes()) == {
        *(JOURNAL, "leaderboard.csv", "leaderboard.json", "report.html", "best/model.safetensors", "best/config.toml"),
        *("trials/t000/model.safetensors", "trials/t002/model.safetensors"),
        *(f"trials/t002/{name}" for name in CHECKPOINTS),
    }


def test_the_model_and_the_checkpoints_of_an_unfinished_final_are_kept(journal: Journal, bucket: Bucket) -> None:
    upload_checkpoints(bucket, "t000-seed1", "model.safetensors")
    upload_checkpoints(bucket, "t000-seed2")
    upload_checkpoints(bucket, "t000-seed3")
    journal.append(asked("t000"))
    journal.append(ended("t000"))
    for seed in (1, 2):
        name = f"t000-seed{seed}"
        journal.append(FinalAsked(final=name, trial="t000", title=name, seed=seed, config={}))
    journal.append(ended("t000-seed1"))
    with mirrored(journal, print):
        pass
    kept = {name for name in bucket.sizes() if name.startswith("trials/")}
    assert kept == {"trials/t000-seed1/model.safetensors", *(f"trials/t000-seed2/{name}" for name in CHECKPOINTS)}


def test_the_best_checkpoint_is_uploaded_before_the_last_and_both_are_removed_with_the_local_ones(
    journal: Journal, storage: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = journal.path.parent
    order: list[str] = []
    put = Bucket.put

    def noted(self: Bucket, name: str, data: bytes) -> None:
        order.append(name)
        put(self, name, data)

    monkeypatch.setattr(Bucket, "put", noted)
    for name in CHECKPOINTS:
        (folder / name).write_text("1")
    with mirrored(journal, print):
        assert order == ["best.safetensors", "last.safetensors", JOURNAL]
        journal.append(asked("t000"))
        wait_for(lambda: order.count(JOURNAL) == 2)
        assert len(order) == 4, "unchanged files must not be sent again"
        for name in CHECKPOINTS:
            (folder / name).unlink()
    assert set(bucket.sizes()) == {JOURNAL}


def test_an_outage_is_survived_and_reported_once(
    journal: Journal, storage: str, bucket: Bucket, object_store: Any
) -> None:
    said: list[str] = []
    told = threading.Event()

    def say(sentence: str) -> None:
        said.append(sentence)
        told.set()

    with mirrored(journal, say):
        object_store.stop()
        journal.append(asked("t000"))
        assert told.wait(PATIENCE_S)
        journal.append(epoch("t000", 1))
        object_store.start()
        wait_for(lambda: bucket.get(JOURNAL) == journal.path.read_bytes())
    assert len(said) == 1 and "NETWORK_CONNECTION" in said[0] and "the run goes on" in said[0]


def test_files_missed_in_an_outage_are_reported_and_sent_later(
    journal: Journal, storage: str, bucket: Bucket, object_store: Any
) -> None:
    said: list[str] = []
    mirror = Mirror(journal, bucket)
    mirror.start(said.append, said.append)
    journal.listeners.append(mirror.heard)
    object_store.stop()
    try:
        (journal.path.parent / "leaderboard.csv").write_text("x")
        journal.append(asked("t000"))
        wait_for(lambda: bool(said))
        left = mirror.close(drain_s=0.1)
        # Its last request must not reach the restarted server together with those of the next mirror.
        mirror._thread.join(PATIENCE_S)
    finally:
        object_store.start()
    assert left.missing == ("leaderboard.csv", JOURNAL) and "NETWORK_CONNECTION" in str(left.problem)
    journal.listeners.clear()
    with mirrored(journal, said.append):
        pass
    assert bucket.get(JOURNAL) == journal.path.read_bytes() and bucket.get("leaderboard.csv") == b"x"


def test_on_another_machine_the_run_is_downloaded_from_the_bucket(
    journal: Journal, storage: str, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = journal.path.parent
    (folder / "best").mkdir()
    for name in (*CHECKPOINTS, "best/model.safetensors"):
        (folder / name).write_text(name)
    with mirrored(journal, print):
        journal.append(asked("t000"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="has no run day: its runs are night"):
        run_folder(storage, "day")
    assert run_folder(storage, "night") == Path("runs/night")
    assert (Path("runs/night") / JOURNAL).read_bytes() == journal.path.read_bytes() == bucket.get(JOURNAL)
    for name in (*CHECKPOINTS, "best/model.safetensors"):
        assert (Path("runs/night") / name).read_text() == name
    assert len(Journal(Path("runs/night") / JOURNAL).entries) == 2


def test_the_longer_journal_wins_if_it_continues_the_other(journal: Journal, storage: str, bucket: Bucket) -> None:
    with mirrored(journal, print):
        journal.append(asked("t000"))
    journal.append(asked("t001"))
    whole = journal.path.read_bytes()
    with pytest.raises(InputError, match="in use"):
        run_folder(storage, "night")
    journal.close()
    assert journal.path == run_folder(storage, "night") / JOURNAL
    assert journal.path.read_bytes() == whole, "this machine's journal is longer"
    bucket.put(JOURNAL, whole)
    lines = whole.splitlines(keepends=True)
    journal.path.write_bytes(lines[0] + lines[1][:9])  # cut off when its machine died
    run_folder(storage, "night")
    assert journal.path.read_bytes() == whole, "the bucket's journal is longer"
    journal.path.write_bytes(lines[0] + lines[2])
    with pytest.raises(InputError, match="hold different runs of one name.*move away"):
        run_folder(storage, "night")
    assert journal.path.read_bytes() == lines[0] + lines[2]


def test_a_run_name_in_the_bucket_cannot_be_used_again(journal: Journal, storage: str, bucket: Bucket) -> None:
    with mirrored(journal, print):
        pass
    journal.path.unlink()
    with pytest.raises(InputError, match="night exists: give another --name, or continue it with --resume night"):
        new_run_folder(storage, "night")
    second = Journal(journal.path)
    second.append(RunStarted(name="night", kind="search", settings={}))
    with pytest.raises(InputError, match="hold different runs"), mirrored(second, print):
        pass
    second.close()


def test_a_missing_bucket_is_refused_before_anything_is_done(object_store: Any) -> None:
    storage = f"s3://nowhere/x?endpoint_override={object_store.endpoint}"
    with pytest.raises(StorageError, match="create the bucket first"):
        check_storage(storage)


def test_a_process_stops_if_another_one_writes_the_same_run(journal: Journal, storage: str, bucket: Bucket) -> None:
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), mirrored(journal, said.append):
        there = bucket.get(JOURNAL)
        assert there is not None
        bucket.put(JOURNAL, there + b"of another process\n")
        journal.append(asked("t000"))
        wait_for(lambda: False)
    assert "another process writes to" in said[0]
    assert bucket.get(JOURNAL) == there + b"of another process\n", "the other journal must not be overwritten"
    assert len(fold(read_journal(journal.path)).trials) == 1
