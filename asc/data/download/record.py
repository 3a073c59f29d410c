"""Asks Zenodo for the sizes and md5 of a record's files, for sets that are not in any published table.

A record is JSON with a list `files`, whose entries have `key` (the name), `size` (bytes) and `checksum` ("md5:...");
see https://developers.zenodo.org/#records.
"""

import re
from dataclasses import replace
from typing import Any

import requests

from asc.data.download.fetch import TIMEOUT_S, reason
from asc.data.download.packages import Package, PackageSet
from asc.errors import InputError

_UNPACKED_PER_ARCHIVE_BYTE = 1.2  # as in the table, for evaluation sets
_MD5 = re.compile(r"md5:([0-9a-f]{32})")


def listed(packages: PackageSet) -> PackageSet:
    """Return a set with its archives, from the record if it has one.

    Raises:
        InputError: the record cannot be read, or lacks the size or the md5 of an archive.
    """
    if packages.record is None:
        return packages
    entries = _entries(packages.record)
    parts = tuple(_package(name, entries.get(name), packages.record) for name in packages.names)
    total_bytes = sum(part.size_bytes for part in parts)
    return replace(packages, packages=parts, unpacked_bytes=round(_UNPACKED_PER_ARCHIVE_BYTE * total_bytes))


def _entries(record: str) -> dict[str, dict[str, Any]]:
    try:
        answer = requests.get(record, headers={"Accept": "application/json"}, timeout=TIMEOUT_S)
        if not answer.ok:
            raise InputError(
                f"the list of archives at {record} cannot be read (the server answered {answer.status_code} "
                f"{answer.reason}): try later"
            )
        return {entry["key"]: entry for entry in answer.json()["files"]}
    except requests.JSONDecodeError as error:
        raise _not_a_list(record) from error
    except requests.RequestException as error:
        raise InputError(
            f"the list of archives at {record} cannot be read (the connection failed: {reason(error)}): try later"
        ) from error
    except (KeyError, TypeError) as error:
        raise _not_a_list(record) from error


def _package(name: str, entry: dict[str, Any] | None, record: str) -> Package:
    if entry is None:
        raise InputError(f"{record} does not list {name}: try later, or fetch the set by hand")
    size_bytes, md5 = entry.get("size"), _MD5.fullmatch(str(entry.get("checksum")))
    if not isinstance(size_bytes, int) or size_bytes <= 0 or md5 is None:
        raise InputError(f"{record} lists {name} without a size and an md5: try later, or fetch the set by hand")
    return Package(file=name, size_bytes=size_bytes, md5=md5[1])


def _not_a_list(record: str) -> InputError:
    return InputError(f"what {record} sent is not a list of archives: try later")
