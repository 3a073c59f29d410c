"""Sound files as recorders, phones and command-line tools write them, each from the same two seconds of sound.

They are written with soundfile and PyAV, and then get the headers that the real tools were observed to write
(`tests/data/test_real_tools.py` runs the tools themselves).
"""

import io
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 44_100
SAMPLES = 2 * RATE_HZ
_TIME_S = np.arange(SAMPLES) / RATE_HZ
SOUND: NDArray[np.float32] = (
    0.02 * np.random.default_rng(5).standard_normal(SAMPLES) + 0.3 * np.sin(2 * np.pi * (300 + 400 * _TIME_S) * _TIME_S)
).astype(np.float32)  # sweep: no two parts are alike
PCM = np.rint(SOUND.astype(np.float64) * 32_767).astype("<i2").tobytes()
EXACT = (np.frombuffer(PCM, "<i2") / np.float32(32_768)).astype(np.float32)


def written(container: str, subtype: str, sound: NDArray[np.float32] = SOUND, rate_hz: int = RATE_HZ) -> bytes:
    """A file written by libsndfile; `sound` is (samples,) at full scale 1."""
    file = io.BytesIO()
    values = np.frombuffer(PCM, "<i2") if subtype == "PCM_16" else sound
    soundfile.write(file, values, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def encoded(
    codec: str,
    container: str,
    *,
    rate_hz: int = RATE_HZ,
    sound: NDArray[np.float32] = SOUND,
    path: Path | None = None,
    **options: str,
) -> bytes:
    """A file written by FFmpeg's encoders, at `path` if given; `sound` is (samples,) at full scale 1."""
    file = io.BytesIO()
    with av.open(file if path is None else str(path), "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 128_000
        for start in range(0, len(sound), 1024):
            piece = np.ascontiguousarray(sound[None, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate_hz, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue() if path is None else path.read_bytes()


def wav(said_bytes: int, *, riff_bytes: int | None = None, pcm: bytes = PCM) -> bytes:
    """A WAV whose data chunk states any length."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    riff = min(said_bytes + 36, 2**32 - 1) if riff_bytes is None else riff_bytes
    return struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + form + struct.pack("<4sI", b"data", said_bytes) + pcm


def rf64(magic: bytes, said_bytes: int) -> bytes:
    """An RF64 or BW64 whose ds64 chunk states any length."""
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, min(said_bytes + 72 * bool(said_bytes), 2**64 - 1), said_bytes, 0, 0)
    return struct.pack("<4sI4s", magic, 2**32 - 1, b"WAVE") + sizes + wav(2**32 - 1)[12:]


def wave64(*, as_sox: bool) -> bytes:
    """A Wave64 written to a pipe: ffmpeg leaves its header without lengths, sox writes the header three times."""
    riff = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
    tail = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
    form = struct.pack("<QHHIIHH", 40, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)

    def header(riff_bytes: int, data_bytes: int) -> bytes:
        start = riff + struct.pack("<Q", riff_bytes) + b"wave" + tail + b"fmt " + tail + form
        return start + b"data" + tail + struct.pack("<Q", data_bytes)

    if not as_sox:
        return header(2**64 - 1, 2**63 - 1) + PCM
    return 2 * header(0, 23) + PCM + header(0, 2**64 - 80)


def aiff(form_bytes: int, frames: int, data_bytes: int) -> bytes:
    """An AIFF whose header states any lengths."""
    common = struct.pack(">4sIHIH", b"COMM", 18, 1, frames, 16) + b"\x40\x0e\xac\x44" + bytes(6)
    head = struct.pack(">4sI4s", b"FORM", form_bytes, b"AIFF") + common
    return head + struct.pack(">4sIII", b"SSND", data_bytes, 0, 0) + np.frombuffer(PCM, "<i2").astype(">i2").tobytes()


def au(data_bytes: int) -> bytes:
    """An AU whose header states any length."""
    head = struct.pack(">4sIIIII", b".snd", 24, data_bytes, 3, RATE_HZ, 1)
    return head + np.frombuffer(PCM, "<i2").astype(">i2").tobytes()


def caf(data_bytes: int, *, repeated: bool = False) -> bytes:
    """A little-endian PCM CAF whose data chunk states any length; sox writes the header three times to a pipe."""
    form = struct.pack(">4sQd4sIIIII", b"desc", 32, RATE_HZ, b"lpcm", 2, 2, 1, 1, 16)
    head = b"caff\0\1\0\0" + form + struct.pack(">4sQI", b"data", data_bytes, 0)
    return head + head * repeated + PCM + head * repeated


def flac_of_unknown_length() -> bytes:
    """A FLAC as flac, sox and ffmpeg write it to a pipe."""
    data = bytearray(written("FLAC", "PCM_16"))
    data[21] &= 0xF0
    data[22:42] = bytes(20)
    return bytes(data)


def flac_that_counts(samples: int, *, rate_hz: int = RATE_HZ) -> bytes:
    """A FLAC whose header states any number of samples."""
    data = bytearray(written("FLAC", "PCM_16", rate_hz=rate_hz))
    data[21:26] = (data[21] >> 4 << 36 | samples).to_bytes(5)
    return bytes(data)


def mp3(mode: str) -> bytes:
    """An MP3 without a Xing or Info frame. It is loud and then nearly silent, so that a variable bit rate varies."""
    sound = SOUND * np.where(np.arange(SAMPLES) < SAMPLES // 5, 1, 1e-4).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, sound, RATE_HZ, format="MP3", bitrate_mode=mode, compression_level=0.5)
    data = file.getvalue()
    kbps = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)[data[2] >> 4]
    return data[144_000 * kbps // RATE_HZ + (data[2] >> 1 & 1) :]


def with_granule(data: bytes, granule: int) -> bytes:
    """An Ogg whose last page states another position, with a valid checksum (RFC 3533, section 6)."""
    place = data.rindex(b"OggS")
    page = bytearray(data[place:])
    page[6:14], page[22:26] = granule.to_bytes(8, "little"), bytes(4)
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum & 0x80000000 else 0)) & 0xFFFFFFFF
    page[22:26] = checksum.to_bytes(4, "little")
    return data[:place] + bytes(page)


def mp3_that_counts(frames: int) -> bytes:
    """An MP3 whose Xing or Info frame states any number of frames."""
    data = bytearray(written("MP3", "MPEG_LAYER_III"))
    place = max(data.find(b"Xing"), data.find(b"Info")) + 8
    data[place : place + 4] = frames.to_bytes(4)
    return bytes(data)


def limited(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in which `limit()` caps further address space at 1 GiB."""
    start = """
import resource, sys
from pathlib import Path
def limit():
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", start + script, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


def joined(part: bytes, times: int = 2) -> bytes:
    """Concatenate a file with itself."""
    return part * times


EXACTLY: dict[str, Callable[[], bytes]] = {
    "unknown.flac": flac_of_unknown_length,
    "counts.flac": lambda: written("FLAC", "PCM_16"),
    "arecord.wav": lambda: wav(0x80000000),
    "sox.wav": lambda: wav(0x7FFFF000),
    "lame.wav": lambda: wav(0x7FFFFFFF),
    "fffffffe.wav": lambda: wav(0xFFFFFFFE),
    "ffffff00.wav": lambda: wav(0xFFFFFF00),
    "ffmpeg.wav": lambda: wav(0xFFFFFFFF),
    "zero.wav": lambda: wav(0, riff_bytes=36),
    "zero riff.wav": lambda: wav(0, riff_bytes=0),
    "unknown.rf64": lambda: rf64(b"RF64", 0),
    "unknown ones.rf64": lambda: rf64(b"RF64", 2**64 - 1),
    "known.rf64": lambda: rf64(b"RF64", len(PCM)),
    "known.bw64": lambda: rf64(b"BW64", len(PCM)),
    "unknown.bw64": lambda: rf64(b"BW64", 0),
    "ffmpeg.w64": lambda: wave64(as_sox=False),
    "sox.w64": lambda: wave64(as_sox=True),
    "sox.aiff": lambda: aiff(0x7F000050, 0x3F800000, 0x7F000008),
    "ffmpeg.aiff": lambda: aiff(0, 0, 0),
    "ffmpeg.au": lambda: au(0xFFFFFFFF),
    "zero.au": lambda: au(0),
    "ffmpeg.caf": lambda: caf(2**64 - 1),
    "sox.caf": lambda: caf(4, repeated=True),
    "alac.caf": lambda: encoded("alac", "caf", rate_hz=RATE_HZ),
    "alac.m4a": lambda: encoded("alac", "ipod"),
    "flac.oga": lambda: encoded("flac", "ogg"),
    "flac.mka": lambda: encoded("flac", "matroska"),
}
"""Files whose samples are `EXACT` (nearly, for those of ffmpeg's encoders), each with its writer's kind of header."""

ROUGHLY: dict[str, tuple[Callable[[], bytes], int]] = {
    "aac.m4a": (lambda: encoded("aac", "ipod"), 1),
    "aac.aac": (lambda: encoded("aac", "adts"), 1),
    "aac.3gp": (lambda: encoded("aac", "3gp"), 1),
    "opus.webm": (lambda: encoded("libopus", "webm", rate_hz=48_000), 1),
    "wavpack.wv": (lambda: encoded("wavpack", "wv"), 1),
    "wma.wma": (lambda: encoded("wmav2", "asf"), 1),
    "ac3.ac3": (lambda: encoded("ac3", "ac3"), 1),
    "constant.mp3": (lambda: mp3("CONSTANT"), 1),
    "variable.mp3": (lambda: mp3("VARIABLE"), 1),
    "counts.mp3": (lambda: written("MP3", "MPEG_LAYER_III"), 1),
    "joined.mp3": (lambda: joined(written("MP3", "MPEG_LAYER_III")), 2),
    "joined constant.mp3": (lambda: joined(mp3("CONSTANT")), 2),
    "chained.ogg": (lambda: joined(written("OGG", "VORBIS")), 2),
    "chained.opus": (lambda: joined(written("OGG", "OPUS", rate_hz=48_000)), 2),
}
"""Files of lossy codecs, and how many times each contains the sound."""
