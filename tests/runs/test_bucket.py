"""Buckets on moto's S3 server; boto3, which is not our code, checks what was stored."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from patience import PATIENCE_S

from asc.errors import InputError
from asc.runs.bucket import (
    Bucket,
    StorageError,
    StorageRefused,
    bucket_of,
    check_new_run,
    is_remote,
    patiently,
    runs_folder,
)


@pytest.fixture(scope="module")
def uri(object_store: Any) -> str:
    made: str = object_store.bucket("things")
    return made


@pytest.fixture
def bucket(uri: str, request: pytest.FixtureRequest) -> Bucket:
    """A folder for this test alone."""
    found = bucket_of(uri)
    assert found is not None
    return found.at("a b", request.node.name.partition("[")[0])


def objects(object_store: Any, prefix: str) -> dict[str, int]:
    """Sizes in bytes of all objects that are not empty, as boto3 lists them; pyarrow stores empty ones for folders."""
    client = boto3.client("s3", endpoint_url=object_store.endpoint, region_name="us-east-1")
    found = client.list_objects_v2(Bucket="things", Prefix=prefix).get("Contents", [])
    return {each["Key"]: each["Size"] for each in found if each["Size"]}


def test_objects_can_be_written_read_listed_and_removed(bucket: Bucket, object_store: Any) -> None:
    bucket.put("one", b"1" * 10)
    bucket.put("deep/er/two", b"2" * 12_000_000)  # more than pyarrow sends in one piece
    bucket.put("one", b"one")
    base = bucket.prefix
    assert objects(object_store, base) == {f"{base}/one": 3, f"{base}/deep/er/two": 12_000_000}
    assert bucket.get("one") == b"one" and bucket.size_bytes("one") == 3
    assert bucket.at("deep").get("er/two") == b"2" * 12_000_000
    assert bucket.sizes() == {"one": 3, "deep/er/two": 12_000_000}
    assert bucket.folders() == ["deep"]
    assert bucket.get("none") is None and bucket.size_bytes("none") is None
    assert bucket.at("none").sizes() == {} and bucket.at("none").folders() == []
    for _ in range(2):
        bucket.remove("one")
        bucket.at("deep", "er").remove("two")
    assert objects(object_store, base) == {} == bucket.sizes()


def test_checking_that_a_bucket_can_be_written_leaves_nothing_in_it(bucket: Bucket, object_store: Any) -> None:
    bucket.check()
    assert objects(object_store, bucket.prefix) == {} == bucket.sizes()


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


def test_a_missing_bucket_or_one_that_denies_access_is_named(bucket: Bucket, object_store: Any) -> None:
    absent = Bucket(bucket="absent", endpoint=object_store.endpoint)
    with pytest.raises(StorageError, match="s3://absent cannot be written .NO_SUCH_BUCKET.*create the bucket first"):
        absent.check()
    requests.post(f"{object_store.endpoint}/moto-api/reset-auth", data=b"0", timeout=PATIENCE_S)
    try:
        with pytest.raises(StorageError, match="s3://things/a b/.* cannot be written .*credentials may"):
            bucket.check()
        tries: list[None] = []
        with pytest.raises(StorageRefused, match="cannot be read .*credentials may"):
            patiently(lambda: (tries.append(None), bucket.get("one")), limit_s=600)
        assert len(tries) == 1, "a refusal must not be retried"
    finally:
        requests.post(f"{object_store.endpoint}/moto-api/reset-auth", data=b"inf", timeout=PATIENCE_S)


def test_patiently_waits_for_the_end_of_an_outage(bucket: Bucket, object_store: Any) -> None:
    bucket.put("kept", b"1")
    object_store.stop()
    tried = threading.Event()

    def read() -> bytes | None:
        tried.set()
        return bucket.get("kept")

    def comes_back() -> None:
        tried.wait()
        object_store.start()

    with pytest.raises(StorageError, match="cannot be read .NETWORK_CONNECTION.*AWS_ENDPOINT_URL"):
        patiently(lambda: bucket.get("kept"), limit_s=0)
    back = threading.Thread(target=comes_back)
    back.start()
    assert patiently(read, limit_s=PATIENCE_S) == b"1"
    back.join()


def test_pyarrow_is_not_imported_for_a_folder() -> None:
    use = "from asc.runs.bucket import bucket_of; bucket_of('runs'), bucket_of('s3://b-1/x')"
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
