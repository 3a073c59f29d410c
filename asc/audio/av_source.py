"""What FFmpeg reads from: a file or a pipe, whose first bytes say which container it is (`asc.audio.containers`)."""

import os
from typing import BinaryIO, Protocol

from asc.audio.containers import START_BYTES, Container, container_of, id3_bytes
from asc.errors import AudioProblem

PIPE_BYTES = 2**12
"""What is read from a pipe at once to find its container; FFmpeg then looks no further ahead for the first block."""


class Readable(Protocol):
    """A pipe."""

    def read(self, count: int, /) -> bytes:
        """At most `count` bytes, as soon as there are any; none at the end."""
        ...


class Source:
    """The source that FFmpeg reads from: a pipe that also allows peeking. `read` keeps an error instead of raising it.

    PyAV calls `read` from C, where a `BaseException` such as Ctrl-C would be lost.
    """

    def __init__(self, source: Readable) -> None:
        """Begin at the pipe's next byte."""
        self._source, self._waiting = source, b""
        self.error: BaseException | None = None

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, or fewer at the end, without consuming them."""
        while len(self._waiting) < count and (more := self._source.read(PIPE_BYTES)):
            self._waiting += more
        return self._waiting[:count]

    def skip(self, count: int) -> None:
        """Read and discard `count` bytes."""
        while count > 0 and (data := self.read(min(count, START_BYTES))):
            count -= len(data)
        self.check()

    def read(self, count: int) -> bytes:
        """At most `count` bytes; none at the end or after an error."""
        try:
            data, self._waiting = self._waiting[:count], self._waiting[count:]
            return data or self._source.read(count)
        except BaseException as error:
            self.error = error
            return b""

    def check(self) -> None:
        """Raise the error that `read` kept, if there is one."""
        if self.error is not None:
            raise self.error


class SeekableSource(Source):
    """A file from an offset on, in which FFmpeg may seek."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        """`file` is at its byte number `offset`, where FFmpeg shall begin."""
        super().__init__(file)
        self._file, self._offset = file, offset

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position relative to the offset; returns the new position."""
        return self._file.seek(place + self._offset if whence == os.SEEK_SET else place, whence) - self._offset

    def tell(self) -> int:
        """The position relative to the offset."""
        return self._file.tell() - self._offset


def source_of_file(file: BinaryIO) -> tuple[SeekableSource, Container]:
    """What FFmpeg reads of a file, from its first byte after ID3 tags on, and the container that it is in.

    Raises:
        AudioProblem: the container is not known.
        OSError: the file cannot be read.
    """
    place = 0
    while length := id3_bytes(file.read(10)):
        place += length
        file.seek(place)
    file.seek(place)
    start = file.read(START_BYTES)
    file.seek(place)
    return SeekableSource(file, place), _known(start, ended=len(start) < START_BYTES)


def container_of_pipe(pipe: Source) -> Container:
    """The container of the sound in a pipe. ID3 tags are consumed, and as few more bytes as possible are read.

    Raises:
        AudioProblem: the container is not known after `START_BYTES`.
        OSError: the pipe cannot be read.
    """
    while length := id3_bytes(pipe.peek(10)):
        pipe.skip(length)
    for count in (16, PIPE_BYTES, START_BYTES // 4, START_BYTES):
        start = pipe.peek(count)
        if found := container_of(start, ended=len(start) < count):
            return found
    return _known(start, ended=len(start) < START_BYTES)


def _known(start: bytes, *, ended: bool) -> Container:
    container = container_of(start, ended=ended)
    if container is None:
        raise AudioProblem("unreadable: its first bytes match no known sound format")
    return container
