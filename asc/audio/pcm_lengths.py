"""The amount of sound in a WAV, RF64, BW64, Wave64, AIFF, AU or CAF file, by its header and by the size of the file.

A program that cannot go back to the start of its output (in a pipe, or after a power cut) leaves 0, or a number near
2^31 or 2^32, in place of the length. A recorder whose file grows beyond 4 GiB leaves the length modulo 4 GiB. Neither
is a length, and the sound then extends to the end of the file. If a file is shorter than a true length says, it is cut
off. WAV: https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html, RF64 and BW64:
https://www.itu.int/rec/R-REC-BS.2088, AIFF: https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/AIFF/AIFF.html,
CAF: https://developer.apple.com/library/archive/documentation/MusicAudio/Reference/CAFSpec.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from asc.errors import AudioProblem

_4_GIB = 2**32
_MOST_BEHIND_BYTES = 2**20
_LONGEST_CHUNK_BYTES = 2**24
_MOST_CHUNKS = 1_000
_WAVE64_GUID = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_WAVE64_TAIL = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_WAVE64_HEAD_BYTES = 40
_AIFF_BYTES = {b"ulaw": 1, b"ULAW": 1, b"alaw": 1, b"ALAW": 1, b"fl32": 4, b"FL32": 4, b"fl64": 8, b"FL64": 8}
_AIFF_PLAIN = (b"NONE", b"twos", b"sowt", b"in24", b"in32", b"raw ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The place of the sound in a file whose header does not give it, and a corrected header."""

    start: int
    stop: int
    header: bytes


def no_length(count: int, *, bits: int = 32) -> bool:
    """Whether a length is a placeholder of a writer that did not know it.

    Placeholders in use are 0, 0x7F000008 and 0x7FFFF000 (sox), 0x7FFFFFFF (lame), 0x80000000 (arecord), and 0xFFFFFF00
    to 0xFFFFFFFF; in 64 bits 0, 2^63 - 1 and 2^64 - 1 (ffmpeg).
    """
    if bits == 64:
        return count == 0 or count >= 2**62
    return count == 0 or count >= _4_GIB - 2**16 or 0x7F000000 <= count < 0x7F000100 or abs(count - 2**31) <= 2**16


def wave_payload(file: BinaryIO, size_bytes: int) -> Payload | None:
    """The payload of a RIFF, RIFX, RF64 or BW64 file; None if libsndfile can trust the file's header.

    Raises:
        AudioProblem: the file is cut off, or its rate is 0 Hz.
    """
    head = _exactly(file, 12)
    order = ">" if head.startswith(b"RIFX") else "<"
    magic, kind = struct.unpack("4s4x4s", head)  # the RIFF length is often 8 too large, so the data chunk's counts
    if kind != b"WAVE":
        return None
    long_bytes: int | None = None
    form = b""
    for name, chunk_bytes in _chunks(file, order):
        if name == b"ds64":
            (long_bytes,) = struct.unpack(f"{order}8xQ", _exactly(file, 16))
            file.seek(chunk_bytes - 16 + chunk_bytes % 2, 1)
        elif name == b"fmt " and chunk_bytes <= _LONGEST_CHUNK_BYTES:
            form = _exactly(file, chunk_bytes + chunk_bytes % 2)
            _check_rate(form[4:8])
        elif name == b"data":
            start = file.tell()
            said = chunk_bytes
            unknown = no_length(said)
            if long_bytes is not None and said == _4_GIB - 1:
                said, unknown = long_bytes, no_length(long_bytes, bits=64)
            stop = _stop(file, start, said, size_bytes, order=order, unknown=unknown)
            known = stop == start + said
            if (known and magic != b"BW64") or len(form) < 16:
                return None
            return _as_wave(form, start, stop, order)
        else:
            file.seek(chunk_bytes + chunk_bytes % 2, 1)
    return None


def wave64_payload(file: BinaryIO, size_bytes: int) -> Payload | None:
    """The payload of a Wave64 file; None if libsndfile can trust the file's header.

    Raises:
        AudioProblem: the file is cut off, or its rate is 0 Hz.
    """
    (riff_bytes,) = struct.unpack("<16xQ16x", _exactly(file, _WAVE64_HEAD_BYTES))
    form = b""
    while len(head := file.read(24)) == 24:
        name, chunk_bytes = head[:4], struct.unpack("<Q", head[16:])[0] - 24
        if name == b"data" and head[4:16] == _WAVE64_TAIL:
            break
        if name == b"fmt " and 16 <= chunk_bytes <= _LONGEST_CHUNK_BYTES:
            form = _exactly(file, chunk_bytes)
            _check_rate(form[4:8])
        elif chunk_bytes < 0 or file.tell() + chunk_bytes > size_bytes:
            return None
        else:
            file.seek(chunk_bytes, 1)
        file.seek(-file.tell() % 8, 1)
    else:
        return None
    start = file.tell()
    if chunk_bytes > 0 and not no_length(chunk_bytes + 24, bits=64):
        _compare(riff_bytes, size_bytes, "Wave64")
        _compare(chunk_bytes, size_bytes - start, "data chunk")
        return None
    start, stop = _without_repeated_headers(file, start, size_bytes, _WAVE64_GUID)
    return _as_wave(form, start, stop, "<") if form else None


def aiff_payload(file: BinaryIO, size_bytes: int) -> Payload | None:
    """The payload of an AIFF or AIFF-C file; None if libsndfile can trust the file's header.

    Raises:
        AudioProblem: the file is cut off.
    """
    form_bytes, kind = struct.unpack(">4xI4s", _exactly(file, 12))
    if kind not in (b"AIFF", b"AIFC"):
        return None
    common = b""
    for name, chunk_bytes in _chunks(file, ">"):
        if name == b"COMM" and 18 <= chunk_bytes <= _LONGEST_CHUNK_BYTES:
            common = _exactly(file, chunk_bytes + chunk_bytes % 2)
        elif name == b"SSND":
            start = file.tell() + 8
            (frames,) = struct.unpack_from(">I", common, 2) if common else (1,)
            if not no_length(form_bytes) and not no_length(chunk_bytes) and frames:
                _compare(form_bytes + 8, size_bytes, "FORM")
                return None
            stop = _stop(file, start, max(0, chunk_bytes - 8), size_bytes, order=">", unknown=no_length(chunk_bytes))
            return _as_aiff(kind, common, start, stop)
        else:
            file.seek(chunk_bytes + chunk_bytes % 2, 1)
    if not no_length(form_bytes):
        _compare(form_bytes + 8, size_bytes, "FORM")
    return None


def au_payload(file: BinaryIO, size_bytes: int) -> Payload | None:
    """The payload of an AU file; None if libsndfile can trust the file's header.

    Raises:
        AudioProblem: the file is cut off, or its rate is 0 Hz.
    """
    header = _exactly(file, 24)
    _check_rate(header[16:20])
    start, data_bytes = struct.unpack_from(">II", header, 4)
    if not no_length(data_bytes):
        _compare(start + data_bytes, size_bytes, "AU")
        return None
    return Payload(start=min(start, size_bytes), stop=size_bytes, header=_au_header(header))


def caf_payload(file: BinaryIO, size_bytes: int) -> Payload | None:
    """The payload of a CAF file of PCM; None if its header is right or FFmpeg must read the file.

    Raises:
        AudioProblem: the file is cut off, or its rate is 0 Hz.
    """
    header = _exactly(file, 8)
    while len(head := file.read(12)) == 12:
        name, chunk_bytes = struct.unpack(">4sQ", head)
        if name == b"data":
            start = file.tell() + 4
            file.seek(4, 1)
            if chunk_bytes > 4 and not no_length(chunk_bytes, bits=64):  # 4 bytes are the edit count
                _compare(chunk_bytes, size_bytes - start + 4, "data chunk")
                return None
            start, stop = _without_repeated_headers(file, start, size_bytes, header[:8])
            data = struct.pack(">4sQI", b"data", stop - start + 4, 0)
            return Payload(start=start, stop=stop, header=header + data)
        if chunk_bytes > _LONGEST_CHUNK_BYTES or len(header) > _LONGEST_CHUNK_BYTES:
            _compare(chunk_bytes, size_bytes - file.tell(), "chunk")
            return None
        content = _exactly(file, chunk_bytes)
        if name == b"desc":
            _check_rate(content[:8])
        header += head + content if name != b"free" else b""
    return None


def _stop(file: BinaryIO, start: int, said: int, size_bytes: int, *, order: str, unknown: bool) -> int:
    """The end of the sound: as its chunk says, or the end of the file if the chunk's length is a placeholder."""
    there = size_bytes - start
    if unknown:
        return start + said if said < there and _whole_chunks(file, start + said, size_bytes, order) else size_bytes
    _compare(said, there, "data chunk")
    if there - said < _4_GIB - _MOST_BEHIND_BYTES or _whole_chunks(file, start + said, size_bytes, order):
        return start + said
    wrapped = start + said + (there - said) // _4_GIB * _4_GIB
    return wrapped if _whole_chunks(file, wrapped, size_bytes, order) else size_bytes


def _without_repeated_headers(file: BinaryIO, start: int, stop: int, magic: bytes) -> tuple[int, int]:
    """Start and end of the samples alone; the file must be at `start`, after its header.

    In a pipe, sox writes the header of Wave64 and CAF again whenever it means to go back to it: once before and once
    after the samples.
    """
    header_bytes = start
    if file.read(len(magic)) == magic:
        start += header_bytes
    file.seek(max(start, stop - header_bytes))
    return start, stop - header_bytes if file.read(len(magic)) == magic else stop


def _whole_chunks(file: BinaryIO, place: int, size_bytes: int, order: str) -> bool:
    """Whether only complete chunks, or nothing, follow from here to the end of the file."""
    place += place % 2
    for _ in range(_MOST_CHUNKS):
        if place >= size_bytes - 1:
            return place <= size_bytes + 1
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or not all(32 <= byte < 127 for byte in head[:4]):
            return False
        length: int = struct.unpack(f"{order}I", head[4:])[0]
        place += 8 + length + length % 2
    return False


def _chunks(file: BinaryIO, order: str) -> Iterator[tuple[bytes, int]]:
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        yield struct.unpack(f"{order}4sI", head)


def _as_wave(form: bytes, start: int, stop: int, order: str) -> Payload | None:
    block_bytes = struct.unpack_from(f"{order}H", form, 12)[0] or 1
    stop -= (stop - start) % block_bytes
    count = stop - start
    rest = struct.pack(f"{order}4sI", b"fmt ", len(form)) + form + b"data"
    if count + len(rest) + 100 < _4_GIB:
        magic = b"RIFF" if order == "<" else b"RIFX"
        header = struct.pack(f"{order}4sI4s", magic, count + len(rest) + 8, b"WAVE") + rest
        return Payload(start=start, stop=stop, header=header + struct.pack(f"{order}I", count))
    if order == ">":
        return None
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, count + len(rest) + 48, count, count // block_bytes, 0)
    header = struct.pack("<4sI4s", b"RF64", _4_GIB - 1, b"WAVE") + sizes + rest + struct.pack("<I", _4_GIB - 1)
    return Payload(start=start, stop=stop, header=header)


def _as_aiff(kind: bytes, common: bytes, start: int, stop: int) -> Payload | None:
    if len(common) < 18:
        return None
    channels, _, bits = struct.unpack_from(">HIH", common)
    coding = common[18:22] if kind == b"AIFC" else b"NONE"
    frame_bytes = channels * (-(-bits // 8) if coding in _AIFF_PLAIN else _AIFF_BYTES.get(coding, 0))
    if frame_bytes == 0 or stop - start >= 2**31:
        return None
    frames = (stop - start) // frame_bytes
    count = frames * frame_bytes
    common = common[:2] + struct.pack(">I", frames) + common[6:]
    chunks = struct.pack(">4sI", b"COMM", len(common)) + common + struct.pack(">4sIII", b"SSND", count + 8, 0, 0)
    if kind == b"AIFC":
        chunks = struct.pack(">4sII", b"FVER", 4, 0xA2805140) + chunks
    header = struct.pack(">4sI4s", b"FORM", 4 + len(chunks) + count, kind) + chunks
    return Payload(start=start, stop=start + count, header=header)


def _au_header(header: bytes) -> bytes:
    return header[:4] + struct.pack(">II", 24, _4_GIB - 1) + header[12:24]


def _compare(said_bytes: int, there_bytes: int, what: str) -> None:
    if said_bytes > there_bytes + 1:  # some writers count a padding byte that they do not write
        raise AudioProblem(f"cut off: its {what} length is {said_bytes:,} bytes, but {there_bytes:,} are there")


def _check_rate(rate: bytes) -> None:
    """Refuse a rate of 0: all its bytes are 0, in either byte order, as an integer or as a float."""
    if rate and not any(rate):
        raise AudioProblem("unreadable: its header names a rate of 0 Hz")


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise AudioProblem("cut off: its header is not whole")
    return data
