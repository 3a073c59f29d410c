"""Raw PCM from a pipe: bytes in pieces of any size to mono samples of full scale 1.

A stream that begins with a RIFF/WAVE header, as `arecord` and `ffmpeg -f wav` send it, is read by its own format
(https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html), and so is RF64 or BW64, whose lengths of 64 bits
are in a chunk of their own (https://tech.ebu.ch/docs/tech/tech3306.pdf). Programs that cannot know how long they will
record leave a length of 0, of 2^31 or of 2^32 - 1 there, or nearly so: such a stream lasts until it ends. Streams that
begin as another container does are refused: taken for raw PCM they would be noise, which has a label too.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asc.errors import InputError

Encoding = Literal["s16le", "s24le", "s32le", "f32le", "u8"]
Read = Callable[[int], bytes]

SAMPLE_BYTES: dict[Encoding, int] = {"u8": 1, "s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}
MOST_CHANNELS = 256
_READ_BYTES = 2**16
_LONGEST_HEADER_BYTES = 2**20
_ENDLESS_BYTES = 2**31 - 2**16
_SAID_IN_64_BITS = 2**32 - 1
_ENDLESS_BYTES_OF_64 = 2**62
_WAVES = (b"RIFF", b"RF64", b"BW64")
_NO_WAVES = {
    (0, b"FORM"): "AIFF",
    (0, b".snd"): "AU",
    (0, b"fLaC"): "FLAC",
    (0, b"OggS"): "Ogg",
    (0, b"RIFX"): "big-endian WAV (RIFX)",
    (0, b"riff"): "Wave64",
    (0, b"caff"): "CAF",
    (0, b"ID3"): "MP3",
    (0, b"\x1aE\xdf\xa3"): "Matroska",
    (4, b"ftyp"): "MP4",
}
_OF_WAVE: dict[tuple[int, int], Encoding] = {
    (1, 8): "u8",
    (1, 16): "s16le",
    (1, 24): "s24le",
    (1, 32): "s32le",
    (3, 32): "f32le",
}
_EXTENSIBLE = 0xFFFE


@dataclass(frozen=True, slots=True, kw_only=True)
class PcmFormat:
    """How the bytes of a stream are to be read."""

    sample_rate_hz: int
    channels: int
    encoding: Encoding

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 100 <= self.sample_rate_hz <= 10_000_000:
            raise InputError(f"the rate must lie within 100 and 10,000,000 Hz, got {self.sample_rate_hz}")
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise InputError(f"the number of channels must lie within 1 and {MOST_CHANNELS}, got {self.channels}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * SAMPLE_BYTES[self.encoding]

    def samples(self, data: bytes) -> NDArray[np.float32]:
        """Whole frames to the mean of their channels, (samples,), full scale 1."""
        frames = _floats(data, self.encoding).reshape(-1, self.channels)
        with np.errstate(invalid="ignore"):  # it is for who listens to refuse infinities (`asc.stream`)
            mean: NDArray[np.float32] = frames.mean(axis=1, dtype=np.float64).astype(np.float32)
        return mean

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{self.sample_rate_hz:,} Hz, {self.channels} channel{'s' * (self.channels > 1)}, {self.encoding}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PcmStream:
    """A stream whose format is known; `blocks` gives its samples, (samples,) each, as they come."""

    format: PcmFormat
    has_header: bool
    blocks: Iterator[NDArray[np.float32]]


def open_pcm(read: Read, asked: PcmFormat) -> PcmStream:
    """A stream of `asked` format, or of the one that its own header names.

    `read(n)` gives at least one byte and at most n, as soon as there are any, and none at the end of the stream.

    Raises:
        InputError: a header that is cut off, has no format, or names one that is not read here; another container.
    """
    source = _Bytes(read)
    start = source.peek(8)
    _refuse_other_container(start)
    if not start.startswith(_WAVES):
        return PcmStream(format=asked, has_header=False, blocks=_blocks(source, asked, None))
    found, data_bytes = _wave_header(source)
    return PcmStream(format=found, has_header=True, blocks=_blocks(source, found, data_bytes))


class _Bytes:
    """A stream of bytes from which exact numbers of them can be taken."""

    def __init__(self, read: Read) -> None:
        self._read, self._waiting = read, b""

    def peek(self, count: int) -> bytes:
        """The next bytes, left where they are; fewer at the end."""
        while len(self._waiting) < count and (more := self._read(_READ_BYTES)):
            self._waiting += more
        return self._waiting[:count]

    def exactly(self, count: int) -> bytes:
        data = self.peek(count)
        if len(data) < count:
            raise InputError("the stream ends within its RIFF/WAVE header: send all of it, or raw PCM without one")
        self._waiting = self._waiting[count:]
        return data

    def some(self) -> bytes:
        """Whatever is there; nothing at the end."""
        data, self._waiting = self._waiting or self._read(_READ_BYTES), b""
        return data


def _blocks(source: _Bytes, form: PcmFormat, left: int | None) -> Iterator[NDArray[np.float32]]:
    """Whole frames as they come, from `left` bytes if that many are known; a cut-off last frame is dropped."""
    rest = b""
    while left != 0 and (data := source.some()):
        data = data if left is None else data[:left]
        left = None if left is None else left - len(data)
        data = rest + data
        whole = len(data) - len(data) % form.frame_bytes
        rest = data[whole:]
        if whole:
            yield form.samples(data[:whole])


def _refuse_other_container(start: bytes) -> None:
    for (offset, magic), name in _NO_WAVES.items():
        if start[offset:].startswith(magic):
            raise InputError(
                f"the stream begins as {name} does, which is not read from a stream: send WAV or raw PCM, as in "
                "ffmpeg -v error -i FILE -f wav - | predict.py ... --follow"
            )


def _wave_header(source: _Bytes) -> tuple[PcmFormat, int | None]:
    """Format and bytes of the data, None where they are not known; the stream then stands at its samples."""
    start = source.exactly(12)
    if start[8:] != b"WAVE":
        raise InputError(f"the stream begins with {start[:4].decode()}, but is no WAVE: send WAV or raw PCM")
    found: PcmFormat | None = None
    long_size: int | None = None
    while True:
        name, size = struct.unpack("<4sI", source.exactly(8))
        if name == b"data":
            break
        if size > _LONGEST_HEADER_BYTES:
            raise InputError(f"the stream's RIFF/WAVE header has a chunk of {size:,} bytes: send WAV or raw PCM")
        chunk = source.exactly(size + size % 2)
        if name == b"fmt ":
            found = _wave_format(chunk)
        elif name == b"ds64" and len(chunk) >= 16:
            (long_size,) = struct.unpack("<Q", chunk[8:16])
    if found is None:
        raise InputError("the stream's RIFF/WAVE header names no format before its data: send WAV or raw PCM")
    if size == _SAID_IN_64_BITS and long_size is not None:
        return found, None if long_size == 0 or long_size >= _ENDLESS_BYTES_OF_64 else long_size
    return found, None if size == 0 or size >= _ENDLESS_BYTES else size


def _wave_format(chunk: bytes) -> PcmFormat:
    if len(chunk) < 16:
        raise InputError("the format in the stream's RIFF/WAVE header is cut off: send WAV or raw PCM")
    tag, channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        (tag,) = struct.unpack("<H", chunk[24:26])
    encoding = _OF_WAVE.get((tag, bits))
    if encoding is None:
        raise InputError(
            f"the stream's WAV format (tag {tag}, {bits} bits) is not read here: send PCM of 8, 16, 24 or 32 bits, or "
            "floats of 32"
        )
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
