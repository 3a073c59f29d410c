"""A folder of an S3 bucket, `s3://BUCKET/PREFIX`. Only this module uses pyarrow.

https://arrow.apache.org/docs/python/filesystems.html#s3. Credentials come from the same places as for AWS's own tools
(the environment, ~/.aws, the machine's role). A write replaces an object completely or not at all, and every reader
sees the new object at once. `asc.runs.storage` reads the URI.
"""

import functools
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from asc.errors import InputError

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

# Timeouts of a stalled request and the number of attempts; callers with time retry (`patiently`, asc.runs.mirror). They
# are short because a process cannot exit before its last request is over: measured, a server that accepts a connection
# and never answers blocks it for about twice the timeout per attempt.
_CONNECT_S, _STANDSTILL_S, _ATTEMPTS = 5, 5, 2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0
# AWS error codes, as pyarrow spells them, for which a retry is useless.
_REFUSALS = ("NO_SUCH_BUCKET", "ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH")
_Answer = TypeVar("_Answer")


class StorageError(InputError):
    """The bucket cannot be reached, does not exist, or refuses access. A retry may help."""


class StorageRefused(StorageError):
    """The bucket does not exist, or it rejects the credentials: a retry is useless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A folder of a bucket. Every method but `at` raises StorageError if the bucket is unreachable or refuses access.

    It is only an address and holds no credentials, so it can be sent to other machines, which use their own.
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None

    def __str__(self) -> str:
        """The short form for messages, without region and endpoint."""
        return f"s3://{self._path()}"

    def at(self, *names: str) -> "Bucket":
        """A subfolder of this folder."""
        return replace(self, prefix="/".join((*filter(None, [self.prefix]), *names)))

    def check(self) -> None:
        """Write and remove a small object, to find errors now rather than in hours.

        Raises:
            StorageError: the bucket does not exist, or cannot be reached or written.
        """
        name = ".asc-can-write"
        self.put(name, b"")
        self.remove(name)

    def put(self, name: str, data: bytes) -> None:
        """Write an object, completely or not at all."""
        with self._errors("written") as files, files.open_output_stream(self._path(name)) as stream:
            stream.write(data)

    def get(self, name: str) -> bytes | None:
        """The bytes of an object, or None if it does not exist."""
        with self._errors("read") as files:
            try:
                with files.open_input_stream(self._path(name)) as stream:
                    data: bytes = stream.read()
                    return data
            except FileNotFoundError:
                return None

    def size_bytes(self, name: str) -> int | None:
        """The size of an object in bytes, or None if it does not exist."""
        with self._errors("read") as files:
            found = files.get_file_info(self._path(name))
            return int(found.size) if found.is_file else None

    def sizes(self) -> dict[str, int]:
        """Sizes in bytes of all objects in this folder and its subfolders, by name relative to this folder."""
        return {name: size for name, size in self._listed(recursive=True) if size is not None}

    def folders(self) -> list[str]:
        """The names of the direct subfolders, sorted."""
        return sorted(name for name, size in self._listed(recursive=False) if size is None)

    def remove(self, name: str) -> None:
        """Remove an object if it exists."""
        with self._errors("written") as files:
            try:
                files.delete_file(self._path(name))
            except FileNotFoundError:
                return

    def _listed(self, *, recursive: bool) -> Iterator[tuple[str, int | None]]:
        from pyarrow.fs import FileSelector

        base = self._path()
        with self._errors("read") as files:
            found = files.get_file_info(FileSelector(base, recursive=recursive, allow_not_found=True))
        for each in found:
            yield each.path.removeprefix(f"{base}/"), int(each.size) if each.is_file else None

    def _path(self, *names: str) -> str:
        return "/".join((self.bucket, *filter(None, [self.prefix]), *names))

    @contextmanager
    def _errors(self, done: str) -> Iterator["S3FileSystem"]:
        """Yield the file system; turn its errors into a StorageError that names this folder."""
        from pyarrow import ArrowException

        try:
            yield _connected(self.bucket, self.region, self.endpoint)
        except (OSError, ArrowException) as error:
            kind = StorageRefused if any(code in str(error) for code in _REFUSALS) else StorageError
            raise kind(f"{self} cannot be {done} ({_reason(error)}): {_advice(error)}") from error


def patiently(action: Callable[[], _Answer], *, limit_s: float) -> _Answer:
    """Run an action, with retries at growing intervals while the bucket cannot be reached; return its result.

    Raises:
        StorageError: the bucket could still not be reached after `limit_s` seconds, or it refused access.
    """
    deadline_s, pause_s = time.monotonic() + limit_s, _FIRST_PAUSE_S
    while True:
        try:
            return action()
        except StorageRefused:
            raise
        except StorageError:
            if time.monotonic() + pause_s > deadline_s:
                raise
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


@functools.cache
def _connected(bucket: str, region: str | None, endpoint: str | None) -> "S3FileSystem":
    """One client per process and bucket; it keeps connections open and is thread-safe."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    known = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return S3FileSystem(
        region=known or ("us-east-1" if endpoint else resolve_s3_region(bucket)),
        endpoint_override=endpoint,
        connect_timeout=_CONNECT_S,
        request_timeout=_STANDSTILL_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        allow_delayed_open=True,  # one request for a small object instead of three
    )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    text = text.partition("AWS Error ")[2] or text
    text = re.sub(r" ?\(Request ID: [^)]*\)", "", text)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _advice(error: Exception) -> str:
    text = str(error)
    if "NO_SUCH_BUCKET" in text:
        return "create the bucket first, or correct its name"
    if "NETWORK_CONNECTION" in text:
        return "check the network and, if the server is not AWS, AWS_ENDPOINT_URL"
    return "check that these credentials may list, read, write and remove there"
