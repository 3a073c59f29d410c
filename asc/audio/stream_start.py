"""The content of a pipe, from its first bytes: a container, the frames of a coded broadcast, or raw PCM.

Raw PCM has no mark of its own, so it is ruled out only if something else is certain, whatever the samples may be.
Containers have magic numbers. MPEG audio, AAC (ADTS or LOAS), AC-3 and MPEG transport streams have a short header on
every frame instead. Several frames must follow one another exactly, and agree in the bits that a stream never changes.
A tone or a constant in PCM may repeat bytes that look like a header, but it then repeats them inside frames as well.

A broadcast may be joined anywhere, so its first frame need not begin at the first byte. The headers are specified in
ISO/IEC 11172-3 and 13818-3 (MPEG audio), 13818-7 (ADTS), 14496-3 (LOAS), 13818-1 (transport streams) and in ETSI
TS 102 366 (AC-3, E-AC-3).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from asc.audio.containers import (
    AC3,
    ADTS,
    EAC3,
    MPEG_AUDIO,
    TRANSPORT_STREAM,
    Container,
    ac3_frame_bytes,
    adts_frame_bytes,
    eac3_frame_bytes,
    magic_container,
    mpeg_frame_bytes,
)

MAGIC_BYTES = 16
# Frames are at most 3,840 bytes long (AC-3 at 640 kbps and 32 kHz), so one of them begins within this many bytes.
_LATEST_START = 4096
_HEADER_BYTES = 6
_FRAMES_OF_A_SHORT_STREAM = 3
_ADTS_BYTES_A_CHANNEL = 768
_SHORTEST_LOAS_BYTES = 8
_PACKET_BYTES = 188
_LOAS = Container(name="AAC (LOAS)", demuxer="loas", broadcast=True)
# Recognised content that is neither raw PCM nor decoded. (FFmpeg swaps the bytes of RIFX lengths but not of its
# samples.) A server may answer a request for sound with text or an archive.
_OTHERS = {
    b"RIFX": "big-endian WAV (RIFX)",
    b"\x7f\xfe\x80\x01": "DTS",
    b"DSD \x1c": "DSF",
    b"FRM8": "DSDIFF",
    b"tBaK": "TAK",
    b".RMF\x00": "RealMedia",
    b".ra\xfd": "RealAudio",
    b"Creative Voice F": "VOC",
    b"NIST_1A": "SPHERE",
    b"ajkg": "Shorten",
    b"MThd\x00": "MIDI",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b\x08\x00": "gzip",
    b"<!DOCTYPE": "HTML",
    b"<!doctype": "HTML",
    b"<html": "HTML",
    b"<?xml": "XML",
    b"HTTP/1.": "an HTTP answer",
    b"#EXTM3U": "a playlist",
    b"[playlist]": "a playlist",
}

Peek = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A container, and the number of bytes to skip before it: the rest of a frame that was joined in the middle."""

    container: Container
    skip: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A kind of frames without a magic number.

    `length` returns a frame's length from its 6-byte header, or 0 if it is no header. `fixed` masks the header bits
    that never change. `frames` is how many must follow one another. `alike` says whether all of them may be identical,
    as in silence; if the header has few fixed bits they may not, because they could be periods of a tone.
    """

    container: Container
    length: Callable[[bytes], int]
    fixed: bytes
    frames: int = 5
    alike: bool = True


def found_in(peek: Peek) -> Found | None:
    """The container of a stream, or None for raw PCM.

    `peek(n)` must return the next n bytes without consuming them, fewer only at the end of the stream. For raw PCM
    4,102 bytes are looked at, and a few frames more if they look like frames so far.
    """
    if (container := magic_container(peek(MAGIC_BYTES))) is not None:
        return Found(container=container)
    for offset in chain((0,), _later_places(peek)):
        for kind in _KINDS:
            if _frames_follow(peek, offset, kind):
                return Found(container=kind.container, skip=offset)
    return None


def other_name(start: bytes) -> str | None:
    """The name of a recognised kind of stream that is neither raw PCM nor decoded here; None for any other."""
    return next((name for magic, name in _OTHERS.items() if start.startswith(magic)), None)


def _later_places(peek: Peek) -> Iterator[int]:
    start = peek(_LATEST_START + _HEADER_BYTES)
    yield from (found.start() for found in _FIRST_BYTES.finditer(start, 1, _LATEST_START))


def _frames_follow(peek: Peek, offset: int, kind: _Kind) -> bool:
    first, frames, place = b"", set[bytes](), offset
    for seen in range(kind.frames):
        header = peek(place + _HEADER_BYTES)[place:]
        if len(header) < _HEADER_BYTES:
            return seen >= _FRAMES_OF_A_SHORT_STREAM
        first = first or header
        length = kind.length(header)
        if not length or any((a ^ b) & mask for a, b, mask in zip(header, first, kind.fixed, strict=False)):
            return False
        frame = peek(place + length + 3)[place:]
        if header[:4] in frame[1:]:  # anywhere but at the start of the next frame
            return False
        frames.add(frame[:length])
        place += length
    return kind.alike or len(frames) > 1


def _checked_adts_frame_bytes(header: bytes) -> int:
    """Like `adts_frame_bytes`, but 0 if the frame exceeds a decoder's buffer for its number of channels."""
    length, channels = adts_frame_bytes(header), (header[2] & 1) << 2 | header[3] >> 6
    return length if length <= _ADTS_BYTES_A_CHANNEL * (channels or 2) + 9 else 0


def _loas_frame_bytes(header: bytes) -> int:
    length = (header[1] & 31) << 8 | header[2]
    return 3 + length if header[0] == 0x56 and header[1] >> 5 == 7 and length >= _SHORTEST_LOAS_BYTES else 0


def _packet_bytes(header: bytes) -> int:
    """Length of a transport packet that has content and is not marked as damaged or scrambled; otherwise 0."""
    good = header[0] == 0x47 and header[1] < 0x80 and header[3] >> 6 == 0 and header[3] >> 4 != 0
    return _PACKET_BYTES if good else 0


_KINDS = (
    _Kind(container=MPEG_AUDIO, length=mpeg_frame_bytes, fixed=b"\xff\xff\x0c\x0f"),
    _Kind(container=ADTS, length=_checked_adts_frame_bytes, fixed=b"\xff\xff\xff\xf0"),
    _Kind(container=AC3, length=ac3_frame_bytes, fixed=b"\xff\xff\x00\x00\xfe\xff"),
    _Kind(container=EAC3, length=eac3_frame_bytes, fixed=b"\xff\xff\x00\x00\xf0\xf8"),
    _Kind(container=_LOAS, length=_loas_frame_bytes, fixed=b"\xff\xe0", alike=False),
    _Kind(container=TRANSPORT_STREAM, length=_packet_bytes, fixed=b"\xff", frames=10, alike=False),
)
_FIRST_BYTES = re.compile(rb"[\xff\x0bVG]")
