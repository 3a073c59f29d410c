"""Checks of the lengths in compressed files against the size of the file; nothing is decoded.

MP3: the Xing or Info frame (http://gabriel.mp3-tech.org/mp3infotag.html). Ogg: its pages, and its chained streams
(https://www.rfc-editor.org/rfc/rfc3533). MP4: its boxes (ISO/IEC 14496-12). Matroska: its segment
(https://www.rfc-editor.org/rfc/rfc9559). ASF: its file properties. FLAC: https://www.rfc-editor.org/rfc/rfc9639.
"""

import struct
from typing import BinaryIO

from asc.audio.containers import mpeg_frame_bytes
from asc.errors import AudioProblem

MAX_OGG_PAGE_BYTES = 65_307
_TWO_FRAMES_BYTES = 2 * 1_441
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MATROSKA_SEGMENT = b"\x18\x53\x80\x67"


def flac_samples(file: BinaryIO) -> int | None:
    """The number of samples in a FLAC file's header; None if it is 0 (unknown) or belongs to a longer recording.

    A segment that ffmpeg cut from a longer recording does not start with frame 0, and its header may count the samples
    of the whole recording.
    """
    start = file.tell()
    count = int.from_bytes(file.read(26)[21:]) & (2**36 - 1)
    file.seek(start + 4)
    while len(head := file.read(4)) == 4:
        file.seek(int.from_bytes(head[1:]), 1)
        if head[0] & 0x80:  # the last metadata block
            break
    return count if file.read(5)[4:] == b"\0" and count else None


def mp3_is_counted(file: BinaryIO, size_bytes: int) -> bool:
    """Whether the MPEG audio stream that starts here has a Xing or Info frame that counts everything in the file.

    It does not if there is no such frame, or if two files were joined; libsndfile's length is then a guess.

    Raises:
        AudioProblem: the file is cut off.
    """
    start = file.tell()
    frame = file.read(1_500)
    if not mpeg_frame_bytes(frame[:4]):
        return False
    mono, version_1 = frame[3] >> 6 == 3, frame[1] & 8
    place = 4 + ((17 if mono else 32) if version_1 else (9 if mono else 17))
    tag, flags = struct.unpack_from(">4sI", frame.ljust(60, b"\0"), place)
    if tag not in (b"Xing", b"Info") or flags & 3 != 3:
        return False
    said_bytes: int
    frames, said_bytes = struct.unpack_from(">II", frame.ljust(60, b"\0"), place + 8)
    there_bytes = size_bytes - start - _tags_behind(file, size_bytes)
    if said_bytes > there_bytes + _TWO_FRAMES_BYTES:
        raise AudioProblem(
            f"cut off: its {tag.decode()} frame counts {said_bytes:,} bytes, but {there_bytes:,} are there"
        )
    return frames > 0 and abs(there_bytes - said_bytes) <= _TWO_FRAMES_BYTES


def _tags_behind(file: BinaryIO, size_bytes: int) -> int:
    """Bytes of the ID3v1 and APE tags at the end of a file."""
    count = 0
    file.seek(max(0, size_bytes - 128))
    if file.read(3) == b"TAG":
        count = 128
    file.seek(max(0, size_bytes - count - 32))
    footer = file.read(32)
    if footer[:8] == b"APETAGEX" and len(footer) == 32:
        length, _, flags = struct.unpack_from("<III", footer, 12)
        count += length + (32 if flags >> 31 else 0)
    return count


def ogg_links(file: BinaryIO, size_bytes: int) -> list[tuple[int, int, bytes]]:
    """The chained streams of an Ogg file: for each its first byte, its end, and the first 8 bytes of its first packet.

    Interleaved streams count as one. Pages are found by their headers alone. If one is missing, the rest of the file
    belongs to the last stream found, and the decoder reports the fault.

    Raises:
        AudioProblem: the file is cut off.
    """
    place, headers = file.tell(), False
    _check_last_page(file, size_bytes)
    links: list[tuple[int, bytes]] = []
    while place < size_bytes:
        file.seek(place)
        page = file.read(27 + 255)
        if page[:4] != b"OggS" or len(page) < 28:
            break
        sizes = page[27 : 27 + page[26]]
        first = page[5] & 2 != 0
        if first and not headers:
            file.seek(place + 27 + len(sizes))
            links.append((place, file.read(8)))
        headers = first
        place += 27 + len(sizes) + sum(sizes)
    ends = [*(start for start, _ in links[1:]), size_bytes][: len(links)]
    return [(start, end, packet) for (start, packet), end in zip(links, ends, strict=True)]


def _check_last_page(file: BinaryIO, size_bytes: int) -> None:
    """The last page must be whole and have the end-of-stream flag (RFC 3533, section 6)."""
    file.seek(max(0, size_bytes - MAX_OGG_PAGE_BYTES))
    tail = file.read()
    start = tail.rfind(b"OggS\x00")
    page = tail[start:] if start >= 0 else b""
    if len(page) < 27 or len(page) < 27 + page[26]:
        raise AudioProblem("cut off: its last Ogg page is not whole")
    page_bytes = 27 + page[26] + sum(page[27 : 27 + page[26]])
    if len(page) < page_bytes:
        raise AudioProblem("cut off: its last Ogg page is not whole")
    if not page[5] & 4:
        raise AudioProblem("cut off: its last Ogg page does not end the stream")


def check_mp4(file: BinaryIO, size_bytes: int) -> None:
    """Check that the boxes of an MP4, M4A, 3GP or MOV file are complete and include its index.

    Raises:
        AudioProblem: the file is cut off.
    """
    place, found = 0, set[bytes]()
    while place + 8 <= size_bytes:
        file.seek(place)
        head = file.read(16)
        length, name = struct.unpack_from(">I4s", head)
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
        if length == 0:
            length = size_bytes - place
        if length < 8:
            break
        found.add(name)
        if place + length > size_bytes:
            raise AudioProblem(
                f"cut off: its {name.decode('latin-1')} box is {length:,} bytes, but {size_bytes - place:,} are there"
            )
        place += length
    if not found & {b"moov", b"moof"}:
        raise AudioProblem("cut off: an MP4 without its index (moov), so its recording was not finished")


def check_matroska(file: BinaryIO, size_bytes: int) -> None:
    """Check that the segment of a Matroska or WebM file is complete; a live recording names no length and passes.

    Raises:
        AudioProblem: the file is cut off.
    """
    file.seek(4)
    header_bytes = _vint(file)
    if header_bytes is None:
        return
    file.seek(header_bytes, 1)
    if file.read(4) != _MATROSKA_SEGMENT:
        return
    said = _vint(file)
    there = size_bytes - file.tell()
    if said is not None and said > there:
        raise AudioProblem(f"cut off: its segment is {said:,} bytes, but {there:,} are there")


def _vint(file: BinaryIO) -> int | None:
    """A variable-length size of 1 to 8 bytes; None if it is invalid or all its bits are set, which means unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(width - 1)) & (2 ** (7 * width) - 1)
    return None if value == 2 ** (7 * width) - 1 else value


def check_asf(file: BinaryIO, size_bytes: int) -> None:
    """Check that a WMA or ASF file is as long as its file properties say; a broadcast names no length and passes.

    Raises:
        AudioProblem: the file is cut off.
    """
    file.seek(0)
    head = file.read(2**16)
    place = head.find(_ASF_FILE_PROPERTIES)
    if place < 0 or len(head) < place + 92:
        return
    (said,) = struct.unpack_from("<Q", head, place + 40)
    (flags,) = struct.unpack_from("<I", head, place + 88)
    if not flags & 1 and said > size_bytes:
        raise AudioProblem(f"cut off: its header says {said:,} bytes, but {size_bytes:,} are there")
