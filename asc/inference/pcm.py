"""PCM from a pipe, raw or as WAV: turns bytes in pieces of any size into mono samples of full scale 1.

A stream with a RIFF/WAVE header, such as `arecord` and `ffmpeg -f wav` send, is read in the format of its header
(https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html). So are RF64 and BW64, which have 64-bit lengths
in a separate chunk (https://tech.ebu.ch/docs/tech/tech3306.pdf). Programs that do not know how long they will record
write a placeholder as length (`asc.audio.pcm_lengths`); such a stream is read until it ends. Some programs silently
stop at the limit of a 32-bit length; `PcmStream.limit` detects that.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asc.audio.pcm_lengths import no_length
from asc.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Samples of a stream, full scale 1: mean and highest magnitude of the channels, both (samples,) float32."""

    sound: NDArray[np.float32]
    loudest: NDArray[np.float32]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.sound)


Encoding = Literal["s16le", "s24le", "s32le", "f32le", "u8"]
Read = Callable[[int], bytes]

SAMPLE_BYTES: dict[Encoding, int] = {"u8": 1, "s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}
MOST_CHANNELS = 256
_READ_BYTES = 2**16
_LONGEST_CHUNK_BYTES = 2**20
_LONGEST_HEADER_BYTES = 2**22
_SAID_IN_64_BITS = 2**32 - 1
WAVES = (b"RIFF", b"RF64", b"BW64")
_LIMITS_BYTES = (2**31, 2**32)
_ABOUT_BYTES = 2**16  # tolerance: the header counts too, and a writer stops at the end of a piece
_OF_WAVE: dict[tuple[int, int], Encoding] = {
    (1, 8): "u8",
    (1, 16): "s16le",
    (1, 24): "s24le",
    (1, 32): "s32le",
    (3, 32): "f32le",
}
_EXTENSIBLE = 0xFFFE


def check_rate(sample_rate_hz: int) -> None:
    """Raise InputError unless the rate is plausible for sound."""
    if not 100 <= sample_rate_hz <= 10_000_000:
        raise InputError(f"the rate must be between 100 and 10,000,000 Hz, got {sample_rate_hz}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PcmFormat:
    """The sample format of a stream."""

    sample_rate_hz: int
    channels: int
    encoding: Encoding

    def __post_init__(self) -> None:
        """Check the ranges of rate and channels."""
        check_rate(self.sample_rate_hz)
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise InputError(f"the number of channels must be between 1 and {MOST_CHANNELS}, got {self.channels}")

    @property
    def frame_bytes(self) -> int:
        """Size of one sample of all channels."""
        return self.channels * SAMPLE_BYTES[self.encoding]

    def block(self, data: bytes) -> Block:
        """Decode bytes, which must be a whole number of frames, to a block of (frames,) samples."""
        frames = _floats(data, self.encoding).reshape(-1, self.channels)
        with np.errstate(invalid="ignore"):  # infinities are refused later (`asc.inference.stream`)
            mean: NDArray[np.float32] = frames.mean(axis=1, dtype=np.float64).astype(np.float32)
        return Block(sound=mean, loudest=np.abs(frames).max(axis=1))

    def __str__(self) -> str:
        """Describe the format for people."""
        return f"{self.sample_rate_hz:,} Hz, {self.channels} channel{'s' * (self.channels > 1)}, {self.encoding}"


class OtherWave(Exception):
    """A WAV with samples other than plain PCM; `ByteStream.rewind` goes back to its start."""


class ByteStream:
    """A byte stream whose next bytes can be peeked at."""

    def __init__(self, read: Read) -> None:
        """`read(n)` returns 1 to n bytes as soon as any are available, and no bytes at the end."""
        self._read, self._waiting, self._header = read, b"", b""

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes (fewer at the end) without consuming them."""
        while len(self._waiting) < count and (more := self._read(_READ_BYTES)):
            self._waiting += more
        return self._waiting[:count]

    def read(self, count: int = _READ_BYTES, /) -> bytes:
        """Return 1 to `count` bytes as soon as any are available, and no bytes at the end."""
        data = self._waiting[:count] if self._waiting else self._read(count)
        self._waiting = self._waiting[count:]
        return data

    def skip(self, count: int) -> None:
        """Skip `count` bytes."""
        while count > 0 and (data := self.read(min(count, _READ_BYTES))):
            count -= len(data)

    def replace(self, start: bytes) -> None:
        """Replace the next bytes, which must have been peeked at, by as many others."""
        self._waiting = start + self._waiting[len(start) :]

    def header(self, count: int) -> bytes:
        """Read exactly `count` bytes of a header; raises InputError if it is cut off or too long."""
        data = self.peek(count)
        if len(data) < count:
            raise InputError("the stream ends within its RIFF/WAVE header: send all of it, or raw PCM without one")
        if len(self._header) + count > _LONGEST_HEADER_BYTES:
            raise InputError(
                f"the stream's RIFF/WAVE header has more than {_LONGEST_HEADER_BYTES:,} bytes before its samples: send "
                "WAV without pictures, or raw PCM"
            )
        self._header += data
        self._waiting = self._waiting[count:]
        return data

    def rewind(self) -> None:
        """Go back to the start of the header."""
        self._waiting, self._header = self._header + self._waiting, b""


@dataclass(slots=True, kw_only=True)
class PcmStream:
    """PCM of a known format. Iterating yields its samples in blocks as they arrive; a cut-off frame is dropped.

    `bytes_left` is the number of bytes still to come according to the header, None if unknown. `has_header` is true for
    a WAV. `done_bytes` counts the bytes read.
    """

    source: ByteStream
    format: PcmFormat
    has_header: bool = False
    bytes_left: int | None = None
    done_bytes: int = 0

    def __iter__(self) -> Iterator[Block]:
        """Yield whole frames as they arrive."""
        rest = b""
        while self.bytes_left != 0 and (data := self.source.read()):
            if self.bytes_left is not None:
                data = data[: self.bytes_left]
                self.bytes_left -= len(data)
            self.done_bytes += len(data)
            data = rest + data
            whole = len(data) - len(data) % self.format.frame_bytes
            rest = data[whole:]
            if whole:
                yield self.format.block(data[:whole])

    @property
    def limit(self) -> str | None:
        """Why a WAV of unknown length ended, if it ended at a size where programs stop writing."""
        if not self.has_header or self.bytes_left is not None:
            return None
        limit = next((each for each in _LIMITS_BYTES if abs(self.done_bytes - each) <= _ABOUT_BYTES), None)
        if limit is None:
            return None
        return (
            f"it ended at {limit // 2**30} GiB, the size limit of a WAV, where arecord and others stop: send raw PCM, "
            "with arecord -t raw"
        )


def open_wave(source: ByteStream) -> PcmStream:
    """Read the RIFF, RF64 or BW64 header at the start of a stream; return its PCM samples.

    Raises:
        InputError: the header is cut off, too long or has no format.
        OtherWave: the format is not plain PCM.
    """
    found, data_bytes = _wave_header(source)
    return PcmStream(source=source, format=found, has_header=True, bytes_left=data_bytes)


def _wave_header(source: ByteStream) -> tuple[PcmFormat, int | None]:
    """Read the format, and the length of the data in bytes (None if unknown)."""
    start = source.header(12)
    if start[8:] != b"WAVE":
        raise InputError(f"the stream begins with {start[:4].decode()}, but is not a WAVE file: send WAV or raw PCM")
    found: PcmFormat | None = None
    long_size: int | None = None
    while True:
        name, size = struct.unpack("<4sI", source.header(8))
        if name == b"data":
            break
        if size > _LONGEST_CHUNK_BYTES:
            raise InputError(f"the stream's RIFF/WAVE header has a chunk of {size:,} bytes: send WAV or raw PCM")
        chunk = source.header(size + size % 2)
        if name == b"fmt ":
            found = _wave_format(chunk)
        elif name == b"ds64" and len(chunk) >= 16:
            (long_size,) = struct.unpack("<Q", chunk[8:16])
    if found is None:
        raise InputError("the stream's RIFF/WAVE header names no format before its data: send WAV or raw PCM")
    if size == _SAID_IN_64_BITS and long_size is not None:
        return found, None if no_length(long_size, bits=64) else long_size
    return found, None if no_length(size) else size


def _wave_format(chunk: bytes) -> PcmFormat:
    if len(chunk) < 16:
        raise InputError("the format in the stream's RIFF/WAVE header is cut off: send WAV or raw PCM")
    tag, channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        (tag,) = struct.unpack("<H", chunk[24:26])
    encoding = _OF_WAVE.get((tag, bits))
    if encoding is None:
        raise OtherWave(f"tag {tag}, {bits} bits")
    return PcmFormat(sample_rate_hz=rate_hz, channels=channels, encoding=encoding)


def _floats(data: bytes, encoding: Encoding) -> NDArray[np.float32]:
    match encoding:
        case "u8":
            return (np.frombuffer(data, "u1").astype(np.float32) - 128) / np.float32(2**7)
        case "s16le":
            return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
        case "s24le":
            padded = np.zeros((len(data) // 3, 4), np.uint8)
            padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)  # the lowest byte of 32 bits stays 0
            return padded.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
        case "s32le":
            return np.frombuffer(data, "<i4").astype(np.float32) / np.float32(2**31)
        case "f32le":
            return np.frombuffer(data, "<f4").astype(np.float32)
