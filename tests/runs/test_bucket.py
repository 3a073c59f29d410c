"""Buckets on moto's S3 server; boto3, which is not our code, checks what was stored."""

import threading
from typing import Any

import boto3
import pytest
import requests
from patience import PATIENCE_S

from asc.runs.bucket import Bucket, StorageError, StorageRefused, patiently
from asc.runs.storage import bucket_of


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
