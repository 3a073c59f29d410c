"""The output folder is created and must be writable."""

from pathlib import Path

import pytest

from asc.console.output_folder import prepare
from asc.errors import InputError


def test_the_folder_is_created_and_the_write_test_leaves_nothing_behind(tmp_path: Path) -> None:
    prepare(tmp_path / "new" / "export")
    assert list((tmp_path / "new" / "export").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing")):
        with pytest.raises(InputError, match=f"{place} cannot be written .*--output"):
            prepare(place)
