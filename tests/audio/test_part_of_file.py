"""A header and a part of a file, read as one file."""

import io
import os

import pytest

from asc.audio.part_of_file import PartOfFile


def test_reads_and_seeks_behave_as_in_a_whole_file() -> None:
    part, whole = PartOfFile(io.BytesIO(b"0123456789"), b"head", 2, 7), io.BytesIO(b"head23456")
    for place, count in ((0, 2), (3, 3), (4, 9), (8, 1), (9, 1), (20, 1), (0, -1)):
        assert part.seek(place) == whole.seek(place) == part.tell()
        assert part.read(count) == whole.read(count)
    assert part.seek(-3, os.SEEK_END) == whole.seek(-3, os.SEEK_END)
    assert part.read(2) + part.read(2) == b"456" and part.seek(-1, os.SEEK_CUR) == 8
    with pytest.raises(OSError, match="read-only"):
        part.write(b"x")
