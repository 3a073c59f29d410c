"""What is checked before Ray starts here; tests/launch/test_search_without_ray.py has the rest, with real processes."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from asc.errors import InputError
from asc.search.cluster import check_folder

Usage = namedtuple("Usage", "total used free")


def test_a_folder_that_is_there_or_can_be_made_will_do(tmp_path: Path) -> None:
    check_folder(tmp_path)
    check_folder(tmp_path / "to" / "be" / "made")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file is no folder that can be written; RAY_TMPDIR names another"):
        check_folder(tmp_path / "file" / "ray")


def test_a_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**12, 10**12 - 49_999_999, 49_999_999))
    with pytest.raises(InputError, match=r"has only 50 MB free, and it needs 50 MB: make room there; RAY_TMPDIR"):
        check_folder(tmp_path / "ray")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**12, 10**12 - 50_000_000, 50_000_000))
    check_folder(tmp_path / "ray")
