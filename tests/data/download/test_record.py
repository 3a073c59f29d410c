"""The list of a record's archives, from a loopback server that answers like Zenodo, or wrongly."""

import json
from typing import Any

import pytest

from asc.data.download.packages import Package, PackageSet, package_set
from asc.data.download.record import listed
from asc.errors import InputError

FILES = [
    {"key": "set.doc.zip", "size": 18, "checksum": "md5:" + 32 * "0", "links": {"self": "https://127.0.0.1/x"}},
    {"key": "set.audio.1.zip", "size": 982, "checksum": "md5:" + 32 * "f"},
    {"key": "readme.md", "size": 1, "checksum": "md5:" + 32 * "1"},
]


def packages(server: Any, *names: str) -> PackageSet:
    return PackageSet(
        name="new",
        title="A set",
        spec="tau2025",
        url="https://127.0.0.1:1",
        licence="none",
        root="set",
        record=f"{server.url}/record",
        names=names,
    )


def test_sizes_and_md5_come_from_the_record(server: Any) -> None:
    server.files["record"] = json.dumps({"id": 1, "files": FILES}).encode()
    found = listed(packages(server, "set.doc.zip", "set.audio.1.zip"))
    assert found.packages == (
        Package(file="set.doc.zip", size_bytes=18, md5=32 * "0"),
        Package(file="set.audio.1.zip", size_bytes=982, md5=32 * "f"),
    )
    assert found.size_bytes == 1000 and found.unpacked_bytes == 1200


def test_a_set_without_a_record_is_not_asked_for() -> None:
    known = package_set("tau2022")
    assert listed(known) is known


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"<html>", "sent is not a list of archives"),
        (b"[]", "sent is not a list of archives"),
        (b'{"files": [1]}', "sent is not a list of archives"),
        (b'{"message": "gone"}', "sent is not a list of archives"),
        (json.dumps({"files": FILES[1:]}).encode(), "does not list set.doc.zip"),
        (json.dumps({"files": [{**FILES[0], "size": None}]}).encode(), "lists set.doc.zip without a size and an md5"),
        (json.dumps({"files": [{**FILES[0], "checksum": "sha1:0"}]}).encode(), "set.doc.zip without a size and an md5"),
    ],
)
def test_a_wrong_record_is_refused(server: Any, content: bytes, sentence: str) -> None:
    server.files["record"] = content
    with pytest.raises(InputError, match=sentence) as caught:
        listed(packages(server, "set.doc.zip"))
    assert "\n" not in str(caught.value)


def test_a_record_that_cannot_be_reached_is_named(server: Any) -> None:
    server.files["record"] = b"{}"
    server.faults.append({"status": 503})
    with pytest.raises(InputError, match=r"/record cannot be read \(the server answered 503 .*: try later"):
        listed(packages(server, "set.doc.zip"))
    server.faults.append({"stop": 1})
    with pytest.raises(InputError, match=r"/record cannot be read \(the connection failed: "):
        listed(packages(server, "set.doc.zip"))


def test_the_evaluation_set_of_2025_has_the_published_names() -> None:
    chosen = package_set("tau2025-eval")
    assert chosen.packages == () and len(chosen.names) == 14 and len(set(chosen.names)) == 14
    assert all(name.startswith(f"{chosen.root}.") and name.endswith(".zip") for name in chosen.names)
    assert chosen.record == "https://zenodo.org/api/records/15517945"
    assert chosen.url == "https://zenodo.org/record/15517945/files/"
