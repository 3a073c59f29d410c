"""What `--storage` names: folders, buckets, and addresses that are refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asc.errors import InputError
from asc.runs.bucket import Bucket
from asc.runs.storage import bucket_of, check_new_run, is_remote, runs_folder


@pytest.fixture(scope="module")
def uri(object_store: Any) -> str:
    made: str = object_store.bucket("things")
    return made


def test_other_servers_are_named_in_the_uri_or_by_the_environment(
    uri: str, object_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bucket_of(uri) == Bucket(bucket="things", endpoint=object_store.endpoint)
    assert bucket_of("s3://things/x/") == Bucket(bucket="things", prefix="x"), "without either, the server is AWS"
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.endpoint)
    by_variable = bucket_of("s3://things/x?region=eu-west-1")
    assert by_variable == Bucket(bucket="things", prefix="x", region="eu-west-1", endpoint=object_store.endpoint)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    by_variable.check()  # the address is complete, so other machines need no environment variable


def test_folders_are_not_buckets(tmp_path: Path) -> None:
    for folder in ("runs", "s3", "./a", "/mnt/share/runs", str(tmp_path), tmp_path):
        assert bucket_of(folder) is None and not is_remote(folder) and runs_folder(folder) == Path(folder)
    assert runs_folder("s3://things/x") == Path("runs"), "working copies are in ./runs"


@pytest.mark.parametrize(
    "storage",
    ["s3:", "s3:/things/x", "s3://", "s3:///x", "s3://No_Bucket/x", "s3://host:9000/x", "gs://things/x", "s3a://t/x"]
    + ["file:///tmp", "s3://things/x#y", "s3://things/a//b", "s3://things/../x", "s3://things/%2e", "s3://things/x?a=b"]
    + ["s3://things/x?endpoint_override=ftp://h", "s3://things/x?endpoint_override=http://", "http://things/x"]
    + ["s3://[", "s3://things/x?endpoint_override=[", "s3://things/x?endpoint_override=host:port"],
)
def test_an_invalid_bucket_address_is_refused_in_one_sentence(storage: str) -> None:
    with pytest.raises(InputError, match="--storage") as refused:
        bucket_of(storage)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "storage",
    ["s3://me:hush@things/x", "s3://hush@things/x", "s3://things/x?access_key=hush", "s3://things/x?secret_key=hush"]
    + ["s3://things/x?session_token=hush", "s3://things/x?endpoint_override=http://me:hush@host"],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(storage: str) -> None:
    with pytest.raises(InputError) as refused:
        bucket_of(storage)
    assert "hush" not in str(refused.value)


def test_pyarrow_is_not_imported_for_a_folder() -> None:
    use = "from asc.runs.storage import bucket_of; bucket_of('runs'), bucket_of('s3://b-1/x')"
    code = f"import sys; {use}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "asc.runs.bucket" in loaded and not {"pyarrow", "numpy", "torch"} & set(loaded)


def test_checking_a_new_run_does_not_create_it(tmp_path: Path, object_store: Any) -> None:
    check_new_run(tmp_path / "runs", "first")
    assert not list(tmp_path.iterdir())
    (tmp_path / "runs" / "first").mkdir(parents=True)
    check_new_run(tmp_path / "runs", "first")  # a folder without a journal never became a run
    (tmp_path / "runs" / "first" / "journal.jsonl").write_text("")
    with pytest.raises(InputError, match=r"first exists: give another --name, or continue it with --resume first"):
        check_new_run(tmp_path / "runs", "first")
    with pytest.raises(InputError, match="plain folder name"):
        check_new_run(tmp_path, "a/b")
    storage = object_store.bucket("taken")
    check_new_run(storage, "first")
    named = bucket_of(storage)
    assert named is not None
    named.at("first").put("journal.jsonl", b"x")
    with pytest.raises(InputError, match=r"s3://taken/first exists"):
        check_new_run(storage, "first")
