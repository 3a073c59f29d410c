"""Headers without a length, of AIFF and Wave64 from a pipe: they are given the longest one, so that FFmpeg reads them.

A program that writes into a pipe cannot go back to fill in the length (`asc.audio.pcm_lengths`), and FFmpeg's demuxers
take the file for damaged. AIFF: https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/AIFF/AIFF.html, Wave64:
https://www.ambisonia.com/Members/mleese/sony_wave64.pdf.
"""

import struct

from asc.audio.pcm_lengths import no_length

START_BYTES = 4096
_LONGEST_AIFF = struct.pack(">I", 2**31 - 1)
_LONGEST_WAVE64 = struct.pack("<Q", 2**62)
_WAVE64_CHUNKS_AT = 40
_GUID_BYTES = 16


def with_a_length(start: bytes) -> bytes:
    """Replace missing lengths in the first `START_BYTES` of an AIFF or Wave64 stream; return any other unchanged."""
    if start.startswith(b"FORM"):
        return _aiff(bytearray(start))
    if start.startswith(b"riff\x2e\x91\xcf\x11"):
        return _wave64(bytearray(start))
    return start


def _aiff(start: bytearray) -> bytes:
    place = 12
    while place + 8 <= len(start):
        name, size = struct.unpack(">4sI", start[place : place + 8])
        if name == b"SSND":
            if no_length(size):
                start[place + 4 : place + 8] = start[4:8] = _LONGEST_AIFF
            break
        place += 8 + size + size % 2
    return bytes(start)


def _wave64(start: bytearray) -> bytes:
    place = _WAVE64_CHUNKS_AT
    while place + _GUID_BYTES + 8 <= len(start):
        (size,) = struct.unpack("<Q", start[place + _GUID_BYTES : place + _GUID_BYTES + 8])
        if start[place : place + 4] == b"data":
            if no_length(size, bits=64) or size == _GUID_BYTES + 8:
                start[place + _GUID_BYTES : place + _GUID_BYTES + 8] = _LONGEST_WAVE64
            break
        place += max(size, _GUID_BYTES + 8) + -size % 8
    return bytes(start)
