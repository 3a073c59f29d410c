"""Where runs are kept beside this machine: a folder of an object store, `s3://BUCKET/PREFIX`; the only home of pyarrow.

https://arrow.apache.org/docs/python/filesystems.html#s3. Credentials are found where AWS's own tools find them (the
environment, ~/.aws, the machine's role), never in the URI, which ends up in logs. Other S3 servers are named by
AWS_ENDPOINT_URL, or by `?endpoint_override=HOST:PORT&scheme=http` after the URI, as pyarrow spells it: its
`FileSystem.from_uri` reads that variable, its `S3FileSystem` does not, so it is read here. An object is replaced whole
or not at all, and is there for every reader as soon as it is written.
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

# In a working copy of a run: the storage that it is a copy from.
FORMS = "give a folder, or s3://BUCKET/PREFIX"
_RUNS = Path("runs")
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_QUERY = ("endpoint_override", "region", "scheme")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# A request that stands still is given up after these; whoever has time tries again (`patiently`, asc.runs.mirror). They
# are short, for a process cannot exit before its last request is over: measured, a server that takes a connection and
# never answers holds it for about twice the time for each attempt.
_CONNECT_S, _STANDSTILL_S, _ATTEMPTS = 5, 5, 2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0
# Codes of AWS's errors, as pyarrow spells them, that no waiting mends.
_REFUSALS = ("NO_SUCH_BUCKET", "ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH")
_Answer = TypeVar("_Answer")


class StorageError(InputError):
    """The bucket is out of reach, is not there, or refuses; one sentence. An outage may be over soon."""


class StorageRefused(StorageError):
    """The bucket is not there, or these credentials are not taken: trying again is no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A folder of a bucket; every method but `at` raises StorageError where the bucket cannot be reached or refuses.

    It is a plain address, so it can go to other machines, which find credentials of their own.
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None

    def __str__(self) -> str:
        """For people; what else says where it is may be long."""
        return f"s3://{self._path()}"

    def at(self, *names: str) -> "Bucket":
        """A folder below this one."""
        return replace(self, prefix="/".join((*filter(None, [self.prefix]), *names)))

    def check(self) -> None:
        """Write and remove a small object, so that what would fail in hours fails now.

        Raises:
            StorageError: no such bucket, or it cannot be reached or written.
        """
        name = ".asc-can-write"
        self.put(name, b"")
        self.remove(name)

    def put(self, name: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
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
        """All objects below this folder by their names from here, with their bytes."""
        return {name: size for name, size in self._listed(recursive=True) if size is not None}

    def folders(self) -> list[str]:
        """The folders directly in this one, sorted."""
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
        """The file system; what it raises, in one sentence that names this folder."""
        from pyarrow import ArrowException

        try:
            yield _connected(self.bucket, self.region, self.endpoint)
        except (OSError, ArrowException) as error:
            kind = StorageRefused if any(code in str(error) for code in _REFUSALS) else StorageError
            raise kind(f"{self} cannot be {done} ({_reason(error)}): {_advice(error)}") from error


def runs_folder(storage: str | Path) -> Path:
    """Where runs lie on this machine: the storage itself, or `runs` for working copies of what lies in a bucket."""
    return _RUNS if is_remote(storage) else Path(storage)


def is_remote(storage: str | Path) -> bool:
    """Whether this names no folder of a file system (a `Path` always does)."""
    return isinstance(storage, str) and (storage.startswith("s3:") or "://" in storage)


def bucket_of(storage: str | Path) -> Bucket | None:
    """The folder of a bucket that a storage names, None for a folder of a file system; nothing is opened yet.

    Raises:
        InputError: another kind of URI, no bucket in it, credentials in it, or an option that is not known.
    """
    if not is_remote(storage):
        return None
    try:
        parts = urlsplit(str(storage))
    except ValueError as error:
        raise InputError(f"--storage is no address that can be read: {FORMS}") from error
    options = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if "@" in parts.netloc or any(word in key for key in options for word in ("key", "secret", "token", "password")):
        raise InputError(
            "--storage holds credentials, which would end up in logs: leave them out and set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or use ~/.aws/credentials or a role of the machine"
        )
    segments = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc) or parts.fragment:
        raise InputError(f"--storage {storage} is no storage that asc knows: {FORMS}")
    if any(not re.fullmatch(r"[\w.=+ -]+", segment) or set(segment) == {"."} for segment in segments):
        raise InputError(f"--storage {storage}: a prefix is made of plain names with a slash between them")
    if unknown := sorted(options.keys() - set(_QUERY)):
        raise InputError(f"--storage {storage}: {unknown[0]} is not known, these are: {', '.join(_QUERY)}")
    return Bucket(
        bucket=parts.netloc, prefix="/".join(segments), region=options.get("region"), endpoint=_endpoint(options)
    )


def check_storage(storage: str | Path) -> None:
    """Check what can be checked before work is done for a run: a bucket is there and can be written.

    Raises:
        InputError: as `bucket_of`, or the bucket is not there, cannot be reached, or refuses.
    """
    bucket = bucket_of(storage)
    if bucket is not None:
        bucket.check()


def check_new_run(storage: str | Path, name: str) -> None:
    """Check that a run of this name can be made, and make nothing.

    Raises:
        InputError: the name is no plain folder name, a run of this name exists, or the storage cannot be read.
    """
    if not name or name != Path(name).name or name.startswith("."):
        raise InputError(f"--name {name}: give a plain folder name, without slashes or a leading dot")
    bucket, folder = bucket_of(storage), runs_folder(storage) / name
    if bucket is not None and bucket.at(name).size_bytes(JOURNAL) is not None:
        raise InputError(f"{bucket.at(name)} exists: give another --name, or go on with it by --resume {name}")
    try:
        exists = (folder / JOURNAL).exists()
    except OSError as error:
        raise unwritable(storage, error) from error
    if exists:
        raise InputError(f"{folder} exists: give another --name, or go on with it by --resume {name}")


def unwritable(storage: str | Path, error: OSError) -> InputError:
    """The error for a folder of runs in which nothing can be written."""
    return InputError(f"--storage {storage} cannot be written ({error.strerror}): give a folder of yours")


def run_bucket(run_folder: Path) -> Bucket | None:
    """The bucket's folder of a run whose folder here is a working copy; None where it is all there is of the run.

    Raises:
        InputError: the file that says so was damaged.
    """
    noted = run_folder / BUCKET_NOTE
    bucket = bucket_of(noted.read_text("utf-8")) if noted.is_file() else None
    return bucket and bucket.at(run_folder.name)


def storage_option(run_folder: Path) -> str:
    """The end of a command line about a run that says where it lies; empty for the default."""
    noted = run_folder / BUCKET_NOTE
    storage = noted.read_text("utf-8") if noted.is_file() else str(run_folder.parent)
    return "" if storage == str(_RUNS) else f" --storage {shlex.quote(storage)}"


def patiently(action: Callable[[], _Answer], *, limit_s: float) -> _Answer:
    """What an action returns, tried again with growing pauses while the bucket is out of reach.

    Raises:
        StorageError: it still was after `limit_s` seconds, or refused at once.
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
    """`http://HOST:PORT` of a server that is not AWS's, from the URI, else from the environment."""
    named = options.get("endpoint_override") or next(
        (os.environ[v] for v in _ENDPOINT_VARIABLES if v in os.environ), ""
    )
    if not named:
        return None
    endpoint = named if "://" in named else f"{options.get('scheme', 'https')}://{named}"
    wrong = "the endpoint of --storage is no http://HOST:PORT or https://HOST: see AWS_ENDPOINT_URL"
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
    """One client a process and bucket; it holds connections, and is safe to use from several threads."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    known = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return S3FileSystem(
        region=known or ("us-east-1" if endpoint else resolve_s3_region(bucket)),
        endpoint_override=endpoint,
        connect_timeout=_CONNECT_S,
        request_timeout=_STANDSTILL_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        allow_delayed_open=True,  # one request for what is small, instead of three
    )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    text = text.partition("AWS Error ")[2] or text
    text = re.sub(r" ?\(Request ID: [^)]*\)", "", text)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _advice(error: Exception) -> str:
    text = str(error)
    if "NO_SUCH_BUCKET" in text:
        return "make the bucket first, or mend its name"
    if "NETWORK_CONNECTION" in text:
        return "see that it can be reached from here, and AWS_ENDPOINT_URL where it is not AWS's"
    return "see that these credentials may list, read, write and remove there"
