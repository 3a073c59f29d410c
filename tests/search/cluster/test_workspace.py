"""Where a trial trains, against a bucket of moto's S3 server that another worker left."""

from pathlib import Path
from typing import Any

import pytest

from asc.runs.bucket import Bucket, StorageError
from asc.runs.storage import bucket_of
from asc.search.cluster.workspace import workspace


@pytest.fixture
def bucket(object_store: Any, request: pytest.FixtureRequest) -> Bucket:
    found = bucket_of(object_store.bucket("workspaces"))
    assert found is not None
    return found.at(request.node.name, "trials", "t000")


def test_without_a_bucket_it_is_the_trials_folder_and_stays(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "t000"
    with workspace(folder, None, scratch=tmp_path / "cache") as place:
        assert place.folder == folder
        folder.mkdir(parents=True)
        (folder / "last.safetensors").write_text("1")
        place.keep()
    assert (folder / "last.safetensors").read_text() == "1" and not (tmp_path / "cache").exists()


def test_the_checkpoint_moves_from_node_to_node_and_leaves_nothing_on_them(tmp_path: Path, bucket: Bucket) -> None:
    with workspace(tmp_path / "never", bucket, scratch=tmp_path / "one") as first:
        assert not list(first.folder.glob("*.safetensors"))
        (first.folder / "best.safetensors").write_text("best 1")
        (first.folder / "last.safetensors").write_text("last 1")
        first.keep()
        assert bucket.sizes() == {"best.safetensors": 6, "last.safetensors": 6}
        (first.folder / "last.safetensors").write_text("last 2, of an epoch that nobody heard of")
    with workspace(tmp_path / "never", bucket, scratch=tmp_path / "two") as second:
        assert (second.folder / "best.safetensors").read_text() == "best 1"
        assert (second.folder / "last.safetensors").read_text() == "last 1"
        (second.folder / "model.safetensors").write_text("model")
        bucket.remove("best.safetensors")
        second.keep()
        assert bucket.sizes() == {"last.safetensors": 6, "model.safetensors": 5}, "what did not change is not sent"
    assert not (tmp_path / "never").exists()
    assert not list((tmp_path / "one").iterdir()) and not list((tmp_path / "two").iterdir())


def test_best_is_never_older_than_last(tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies between the two uploads leaves a best that is newer, which the next one writes again."""
    put = Bucket.put

    def dies_at_last(self: Bucket, name: str, data: bytes) -> None:
        if name == "last.safetensors":
            raise KeyboardInterrupt
        put(self, name, data)

    monkeypatch.setattr(Bucket, "put", dies_at_last)
    with pytest.raises(KeyboardInterrupt), workspace(tmp_path, bucket, scratch=tmp_path / "cache") as place:
        for name in ("last.safetensors", "best.safetensors"):
            (place.folder / name).write_text("2")
        place.keep()
    assert set(bucket.sizes()) == {"best.safetensors"}
    assert not list((tmp_path / "cache").iterdir())


def test_a_bucket_that_stays_away_is_said(
    tmp_path: Path, bucket: Bucket, object_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asc.search.cluster.workspace.OUTAGE_S", 0.0)
    object_store.stop()
    try:
        with (
            pytest.raises(StorageError, match="trials/t000 cannot be read"),
            workspace(tmp_path, bucket, scratch=tmp_path / "cache"),
        ):
            pass
    finally:
        object_store.start()
    assert not list((tmp_path / "cache").iterdir())
