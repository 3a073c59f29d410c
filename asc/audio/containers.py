"""The container format of a stream of bytes, from its first bytes alone; file names and probing play no part.

FFmpeg may open only formats in this table (`asc.audio.av_audio`). It leaves out playlists, scripts and session
descriptions, which would name other files or addresses. MPEG audio, ADTS and AC-3 have no magic number, only a header
on every frame, so several consecutive headers must agree (ISO/IEC 11172-3, 13818-7; ETSI TS 102 366).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

START_BYTES = 2**16
_CONSECUTIVE_FRAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container format: its common name, and the name of FFmpeg's demuxer for it.

    `counts`: its header gives the exact number of samples. `broadcast`: it consists of frames only, so a listener may
    join and leave anywhere. `index_at_end`: it often cannot be read from a pipe.
    """

    name: str
    demuxer: str
    counts: bool = False
    broadcast: bool = False
    index_at_end: bool = False


_MP4 = Container(name="MP4", demuxer="mov", index_at_end=True)
MPEG_AUDIO = Container(name="MP3", demuxer="mp3", broadcast=True)
ADTS = Container(name="AAC", demuxer="aac", broadcast=True)
AC3 = Container(name="AC-3", demuxer="ac3", broadcast=True)
EAC3 = Container(name="E-AC-3", demuxer="eac3", broadcast=True)
_WAV = Container(name="WAV", demuxer="wav")
_MAGIC: dict[tuple[int, bytes], Container] = {
    (8, b"AVI "): Container(name="AVI", demuxer="avi"),
    (0, b"RIFF"): _WAV,
    (0, b"RF64"): _WAV,
    (0, b"BW64"): _WAV,
    (0, b"RIFX"): _WAV,
    (0, b"riff\x2e\x91\xcf\x11"): Container(name="Wave64", demuxer="w64"),
    (0, b"FORM"): Container(name="AIFF", demuxer="aiff"),
    (0, b".snd"): Container(name="AU", demuxer="au"),
    (0, b"caff"): Container(name="CAF", demuxer="caf", index_at_end=True),
    (0, b"fLaC"): Container(name="FLAC", demuxer="flac"),
    (0, b"OggS"): Container(name="Ogg", demuxer="ogg"),
    (0, b"\x1a\x45\xdf\xa3"): Container(name="Matroska", demuxer="matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"): Container(name="ASF", demuxer="asf"),
    (0, b"wvpk"): Container(name="WavPack", demuxer="wv", counts=True),
    (0, b"#!AMR"): Container(name="AMR", demuxer="amr"),
    (0, b"FLV\x01"): Container(name="FLV", demuxer="flv"),
    (0, b"\x00\x00\x01\xba"): Container(name="MPEG program stream", demuxer="mpeg"),
    (0, b"TTA1"): Container(name="TTA", demuxer="tta", counts=True),
    (0, b"MAC "): Container(name="Monkey's Audio", demuxer="ape", counts=True),
    (0, b"MPCK"): Container(name="Musepack", demuxer="mpc8"),
    (0, b"MP+"): Container(name="Musepack", demuxer="mpc"),
    (0, b"ADIF"): ADTS,
    **{(4, box): _MP4 for box in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof")},
}
TRANSPORT_STREAM = Container(name="MPEG transport stream", demuxer="mpegts", broadcast=True)
_TRANSPORT_PACKET_BYTES = 188


def container_of(start: bytes, *, ended: bool = False) -> Container | None:
    """The container that begins with these bytes, or None if none is known, as for raw PCM.

    A dozen bytes are enough for most formats. For frames without a magic number, `start` must hold two consecutive
    frames, or one if the stream has `ended`. With at least `START_BYTES`, or at the end of the stream, the frames may
    begin later than at the first byte, as in a stream that was joined in the middle. Skip ID3 tags first (`id3_bytes`).
    """
    if (found := magic_container(start)) is not None:
        return found
    if start[:1] == b"G" and start[_TRANSPORT_PACKET_BYTES::_TRANSPORT_PACKET_BYTES][:3] == b"GGG":
        return TRANSPORT_STREAM
    anywhere = ended or len(start) >= START_BYTES
    places = (found.start() for found in re.finditer(rb"\xff|\x0bw", start)) if anywhere else (0,)
    frames = ((offset, container) for offset in places for container in _FRAMES)
    return next((container for offset, container in frames if _agree(start, offset, container, ended=ended)), None)


def magic_container(start: bytes) -> Container | None:
    """The container whose magic number is in these first 16 bytes, if any."""
    return next(
        (container for (offset, magic), container in _MAGIC.items() if start[offset : offset + len(magic)] == magic),
        None,
    )


def id3_bytes(start: bytes) -> int:
    """The length of the ID3v2 tag that begins here, 0 for none; 10 bytes are enough (https://id3.org/id3v2.4.0-structure)."""
    if len(start) < 10 or start[:3] != b"ID3" or max(start[6:10]) > 127:
        return 0
    length = start[6] << 21 | start[7] << 14 | start[8] << 7 | start[9]
    return 10 + length + (10 if start[5] & 16 else 0)


def mpeg_frame_bytes(header: bytes) -> int:
    """Length in bytes of the MPEG audio frame with this 4-byte header; 0 if it is no frame, or is in free format."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer, bits, rate = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3), header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return 0
    kbps = _KBPS[(1 if version == 3 else 2, layer)][bits]
    rate_hz = (44_100, 48_000, 32_000)[rate] >> (0 if version == 3 else 3 - max(version, 1))
    padding = header[2] >> 1 & 1
    if layer == 1:
        return (12_000 * kbps // rate_hz + padding) * 4
    return (72_000 if layer == 3 and version != 3 else 144_000) * kbps // rate_hz + padding


def adts_frame_bytes(header: bytes) -> int:
    """Length in bytes of the ADTS frame (ISO/IEC 13818-7) with this 6-byte header; 0 if it is no frame."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0


def ac3_frame_bytes(header: bytes) -> int:
    """Length in bytes of the AC-3 frame (ETSI TS 102 366) with this 6-byte header; 0 if it is no frame."""
    if len(header) < 6 or header[:2] != b"\x0bw" or header[5] >> 3 > 10 or header[4] >> 6 == 3 or header[4] & 63 > 37:
        return 0
    kbps = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)[
        (header[4] & 63) // 2
    ]
    rate = header[4] >> 6
    if rate == 1:
        return 2 * (kbps * 96_000 // 44_100 + (header[4] & 1))
    return kbps * (4 if rate == 0 else 6)


def eac3_frame_bytes(header: bytes) -> int:
    """Length in bytes of the E-AC-3 frame with this 6-byte header; 0 if it is no frame."""
    if len(header) < 6 or header[:2] != b"\x0bw" or not 11 <= header[5] >> 3 <= 16:
        return 0
    return 2 * ((int.from_bytes(header[2:4]) & 0x7FF) + 1)


_FRAMES: dict[Container, Callable[[bytes], int]] = {
    MPEG_AUDIO: mpeg_frame_bytes,
    ADTS: adts_frame_bytes,
    AC3: ac3_frame_bytes,
    EAC3: eac3_frame_bytes,
}
_UNLIKE = {MPEG_AUDIO: b"\xff\xfe\x0c", ADTS: b"\xff\xfe\xfc", AC3: b"\xff\xff", EAC3: b"\xff\xff"}
_KBPS: dict[tuple[int, int], tuple[int, ...]] = {
    (1, 1): (0, *range(32, 449, 32)),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _agree(start: bytes, offset: int, container: Container, *, ended: bool) -> bool:
    """Whether frames of one kind and rate follow one another from `offset` on: three, or as many as `start` holds."""
    frame_bytes, kind = _FRAMES[container], _UNLIKE[container]
    first = start[offset : offset + len(kind)]
    seen = 0
    while seen < _CONSECUTIVE_FRAMES:
        header = start[offset : offset + 6]
        length = frame_bytes(header)
        if not length or any((a ^ b) & mask for a, b, mask in zip(header, first, kind, strict=False)):
            break
        seen += 1
        offset += length
        if offset + 6 > len(start):
            return seen > 1 or ended
    return seen == _CONSECUTIVE_FRAMES
