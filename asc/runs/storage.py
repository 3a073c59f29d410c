"""Where runs are stored: what `--storage` names, a folder or `s3://BUCKET/PREFIX`, and where a run in it is.

Credentials are never part of the URI, which ends up in logs. Servers other than AWS's are named by AWS_ENDPOINT_URL, or
by pyarrow's `?endpoint_override=HOST:PORT&scheme=http` at the end of the URI. This module reads the variable itself,
because pyarrow's `S3FileSystem` does not.
"""

import os
import re
import shlex
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from asc.errors import InputError
from asc.run_files import BUCKET_NOTE, JOURNAL
from asc.runs.bucket import Bucket

_FORMS = "give a folder, or s3://BUCKET/PREFIX"
_RUNS = Path("runs")
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_QUERY = ("endpoint_override", "region", "scheme")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


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
        raise InputError(f"--storage is not a valid address: {_FORMS}") from error
    options = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if "@" in parts.netloc or any(word in key for key in options for word in ("key", "secret", "token", "password")):
        raise InputError(
            "--storage holds credentials, which would end up in logs: leave them out and set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or use ~/.aws/credentials or a role of the machine"
        )
    segments = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc) or parts.fragment:
        raise InputError(f"--storage {storage} is neither a folder nor a bucket: {_FORMS}")
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
