"""A virtual, read-only file: the bytes of a header, followed by a part of a real file."""

import os
from typing import BinaryIO


class PartOfFile:
    """`header`, then the bytes of `file` from `start` up to `stop`, as a seekable binary file for libsndfile."""

    def __init__(self, file: BinaryIO, header: bytes, start: int, stop: int) -> None:
        """The file is shared and stays open; read only one part of it at a time."""
        self._file, self._header, self._start = file, header, start
        self._size = len(header) + stop - start
        self._place = 0

    def tell(self) -> int:
        """The position in bytes."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position; returns the new position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def read(self, count: int = -1) -> bytes:
        """At most `count` bytes, or all that are left if `count` is negative."""
        left = max(0, self._size - self._place)
        count = left if count < 0 else min(count, left)
        head = self._header[self._place : self._place + count]
        data = head
        if len(head) < count:
            self._file.seek(self._start + self._place + len(head) - len(self._header))
            data = head + self._file.read(count - len(head))
        self._place += len(data)
        return data

    def write(self, data: bytes) -> int:
        """Always fails; `soundfile` requires the method."""
        raise OSError("this file is read-only")
