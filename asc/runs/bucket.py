"""Storage for runs in an S3 bucket, `s3://BUCKET/PREFIX`. Only this module uses pyarrow.

https://arrow.apache.org/docs/python/filesystems.html#s3. Credentials come from the same places as for AWS's own tools
(the environment, ~/.aws, the machine's role), never from the URI, which ends up in logs. Other S3 servers are named by
AWS_ENDPOINT_URL, or by pyarrow's `?endpoint_override=HOST:PORT&scheme=http` at the end of the URI. This module reads
the variable itself, because pyarrow's `S3FileSystem` does not. A write replaces an object completely or not at all, and
every reader sees the new object at once.
"""

import functools
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qs, urlsplit

from asc.errors import InputError
from asc.run_files import BUCKET_NOTE, JOURNAL

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

FORMS = "give a folder, or s3://BUCKET/PREFIX"
_RUNS = Path("runs")
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_QUERY = ("endpoint_override", "region", "scheme")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
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


def runs_folder(storage: str | Path) -> Path:
    """The folder of runs on this machine: the storage itself or, for a bucket, `runs`, which holds working copies."""
    return _RUNS if is_remote(storage) else Path(storage)


def is_remote(storage: str | Path) -> bool:
    """Whether this is a URI rather than a folder of a file system; a `Path` is always a folder."""
    return isinstance(storage, str) and (storage.startswith("s3:") or "://" in storage)


def bucket_of(storage: str | Path) -> Bucket | None:
    """The folder of a bucket that a storage names; None for a folder of a file system. This opens no connection.

    Raises:
        InputError: the URI is not an S3 URI, names no bucket, holds credentials, or has an unknown option.
    """
    if not is_remote(storage):
        return None
    try:
        parts = urlsplit(str(storage))
    except ValueError as error:
        raise InputError(f"--storage is not a valid address: {FORMS}") from error
    options = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if "@" in parts.netloc or any(word in key for key in options for word in ("key", "secret", "token", "password")):
        raise InputError(
            "--storage holds credentials, which would end up in logs: leave them out and set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or use ~/.aws/credentials or a role of the machine"
        )
    segments = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc) or parts.fragment:
        raise InputError(f"--storage {storage} is neither a folder nor a bucket: {FORMS}")
    if any(not re.fullmatch(r"[\w.=+ -]+", segment) or set(segment) == {"."} for segment in segments):
        raise InputError(f"--storage {storage}: use only plain names, separated by slashes, in the prefix")
    if unknown := sorted(options.keys() - set(_QUERY)):
        raise InputError(f"--storage {storage}: {unknown[0]} is not a known option; give one of {', '.join(_QUERY)}")
    return Bucket(
        bucket=parts.netloc, prefix="/".join(segments), region=options.get("region"), endpoint=_endpoint(options)
    )


def check_storage(storage: str | Path) -> None:
    """Check before a run starts that its bucket, if it has one, exists and can be written.

    Raises:
        InputError: as `bucket_of`, or the bucket does not exist, cannot be reached, or refuses access.
    """
    bucket = bucket_of(storage)
    if bucket is not None:
        bucket.check()


def check_new_run(storage: str | Path, name: str) -> None:
    """Check that a run of this name can be created, without creating it.

    Raises:
        InputError: the name is not a plain folder name, a run of this name exists, or the storage cannot be read.
    """
    if not name or name != Path(name).name or name.startswith("."):
        raise InputError(f"--name {name}: give a plain folder name, without slashes or a leading dot")
    bucket, folder = bucket_of(storage), runs_folder(storage) / name
    if bucket is not None and bucket.at(name).size_bytes(JOURNAL) is not None:
        raise InputError(f"{bucket.at(name)} exists: give another --name, or continue it with --resume {name}")
    try:
        exists = (folder / JOURNAL).exists()
    except OSError as error:
        raise unwritable(storage, error) from error
    if exists:
        raise InputError(f"{folder} exists: give another --name, or continue it with --resume {name}")


def unwritable(storage: str | Path, error: OSError) -> InputError:
    """The error for a folder of runs that cannot be written."""
    return InputError(f"--storage {storage} cannot be written ({error.strerror}): give a folder that you can write")


def run_bucket(run_folder: Path) -> Bucket | None:
    """The bucket folder of a run whose local folder is a working copy; None if the run exists only locally.

    Raises:
        InputError: the file that names the storage is damaged.
    """
    noted = run_folder / BUCKET_NOTE
    bucket = bucket_of(noted.read_text("utf-8")) if noted.is_file() else None
    return bucket and bucket.at(run_folder.name)


def storage_option(run_folder: Path) -> str:
    """The --storage option for a command line about a run; empty for the default storage."""
    noted = run_folder / BUCKET_NOTE
    storage = noted.read_text("utf-8") if noted.is_file() else str(run_folder.parent)
    return "" if storage == str(_RUNS) else f" --storage {shlex.quote(storage)}"


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


def _endpoint(options: dict[str, str]) -> str | None:
    """The `http://HOST:PORT` of a server other than AWS, from the URI or else the environment; None for AWS."""
    named = options.get("endpoint_override") or next(
        (os.environ[v] for v in _ENDPOINT_VARIABLES if v in os.environ), ""
    )
    if not named:
        return None
    endpoint = named if "://" in named else f"{options.get('scheme', 'https')}://{named}"
    wrong = "the endpoint of --storage is not http://HOST:PORT or https://HOST: correct the URI or AWS_ENDPOINT_URL"
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
    except ValueError as error:
        raise InputError(wrong) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise InputError(wrong)
    return endpoint


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
