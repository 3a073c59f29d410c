"""Fetches a list of clips, for which no size and no md5 are published.

It must be a tab-separated table with a column `filename`. Whether its clips are those of the set is checked when the
set is read (`asc.data.tau`).
"""

from pathlib import Path, PurePosixPath

import requests

from asc.data.download.fetch import TIMEOUT_S, reason
from asc.data.download.packages import ClipList
from asc.data.table import check_columns, read_table
from asc.errors import InputError

_MOST_BYTES = 100_000_000  # the largest list of the set's own, meta.csv, has 17 MB
_BLOCK_BYTES = 1 << 16


def fetch_list(chosen: ClipList, root: Path, *, url: str | None = None) -> None:
    """Fetch a list to its place below `root`; `url` is a mirror, the address without the file's name.

    Raises:
        InputError: the list cannot be fetched, or what the server sent is none.
        OSError: it cannot be written.
    """
    address = f"{(url or chosen.url).rstrip('/')}/{PurePosixPath(chosen.file).name}"
    place = root / chosen.file
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.new")
    try:
        temporary.write_bytes(_received(address))
        _check(temporary, address)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def _received(address: str) -> bytes:
    content = bytearray()
    try:
        with requests.get(address, stream=True, timeout=TIMEOUT_S) as answer:
            if not answer.ok:
                raise InputError(
                    f"{address} cannot be fetched (the server answered {answer.status_code} {answer.reason}): try "
                    "later or give a --url"
                )
            for block in answer.iter_content(_BLOCK_BYTES):
                content += block
                if len(content) > _MOST_BYTES:
                    raise InputError(f"{address} is longer than {_MOST_BYTES:,} bytes and so no list of clips")
    except requests.RequestException as error:
        raise InputError(
            f"{address} cannot be fetched (the connection failed: {reason(error)}): try later or give a --url"
        ) from error
    return bytes(content)


def _check(file: Path, address: str) -> None:
    try:
        check_columns(file, read_table(file, delimiter="\t")[0][1], ("filename",))
    except InputError as error:
        raise InputError(
            f"what {address} sent is not a tab-separated list of clips: try later or give a --url"
        ) from error
