"""Raw PCM: every format, real-world headers, pieces of any size."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asc.errors import InputError
from asc.inference.pcm import ByteStream, Encoding, PcmFormat, PcmStream
from asc.inference.sound_stream import open_sound

SUBTYPES = {"u8": "PCM_U8", "s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT"}
MONO = PcmFormat(sample_rate_hz=8000, channels=1, encoding="s16le")


def heard(data: bytes, asked: PcmFormat = MONO, *, most: int = 2**16) -> tuple[PcmFormat, NDArray[np.float32]]:
    """Read `data` at most `most` bytes at a time; return its format and mono sound, (samples,), full scale 1."""
    stream = io.BytesIO(data)
    with open_sound(lambda count: stream.read(min(count, most)), asked) as sound:
        blocks = list(sound.blocks)
    assert sound.pcm is not None and all(len(block) for block in blocks)
    return sound.pcm.format, np.concatenate([np.zeros(0, np.float32), *(block.sound for block in blocks)])


def sound(channels: int) -> NDArray[np.float64]:
    """Noise, shape (1000 samples, channels), full scale 1."""
    return np.random.default_rng(0).uniform(-1, 1, (1000, channels))


def wave(tmp_path: Path, encoding: str, channels: int, *, container: str = "WAV") -> bytes:
    path = tmp_path / "sound.wav"
    soundfile.write(path, sound(channels), 22_050, subtype=SUBTYPES[encoding], format=container)
    return path.read_bytes()


@pytest.mark.parametrize("encoding", get_args(Encoding))
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_samples_equal_those_of_libsndfile(tmp_path: Path, encoding: Encoding, channels: int, container: str) -> None:
    data = wave(tmp_path, encoding, channels, container=container)
    expected = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0].mean(axis=1)
    form, samples = heard(data)
    assert form == PcmFormat(sample_rate_hz=22_050, channels=channels, encoding=encoding)
    np.testing.assert_allclose(samples, expected, atol=1e-7)
    start = data.index(b"data") + 8
    raw = data[start : start + struct.unpack("<I", data[start - 4 : start])[0]]
    asked, same = heard(raw, form)
    assert asked == form and np.array_equal(same, samples)


@pytest.mark.parametrize("encoding", get_args(Encoding))
@pytest.mark.parametrize("most", [1, 3, 7, 1001])
def test_the_read_size_changes_nothing(tmp_path: Path, encoding: Encoding, most: int) -> None:
    data = wave(tmp_path, encoding, 2)
    assert np.array_equal(heard(data, most=most)[1], heard(data)[1])


@pytest.mark.parametrize("length", [0, 0x7F000008, 2**31 - 1, 2**31, 2**32 - 1, 2**31 - 36 - 4096])
def test_a_placeholder_length_in_the_header_is_ignored(tmp_path: Path, length: int) -> None:
    data = wave(tmp_path, "s16le", 1)
    start = data.index(b"data") + 8
    unknown = data[: start - 4] + struct.pack("<I", length) + data[start:]
    assert np.array_equal(heard(unknown)[1], heard(data)[1])


def test_chunks_around_the_data_are_skipped(tmp_path: Path) -> None:
    data = wave(tmp_path, "s16le", 1)
    assert np.array_equal(heard(data + b"LIST\x04\x00\x00\x00abcd")[1], heard(data)[1])
    before = data[:12] + b"LIST\x03\x00\x00\x00abc\x00" + data[12:]  # an odd chunk has a byte of padding
    assert np.array_equal(heard(before)[1], heard(data)[1])


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
def test_lengths_of_64_bits_are_read(tmp_path: Path, magic: bytes) -> None:
    data = magic + wave(tmp_path, "s24le", 2, container="RF64")[4:]
    start = data.index(b"data") + 8
    assert data[start - 4 : start] == b"\xff" * 4, "the real length is in the ds64 chunk"
    expected = heard(wave(tmp_path, "s24le", 2))
    for more in (b"", b"LIST\x04\x00\x00\x00abcd"):
        form, samples = heard(data + more)
        assert form == expected[0] and np.array_equal(samples, expected[1])
    where = data.index(b"ds64") + 16
    for unknown in (0, 2**64 - 1):
        changed = data[:where] + struct.pack("<Q", unknown) + data[where + 8 :]
        assert np.array_equal(heard(changed)[1], expected[1])


def test_half_a_frame_at_the_end_is_dropped() -> None:
    assert len(heard(b"\x00" * 7)[1]) == 3
    assert len(heard(b"")[1]) == 0
    assert len(heard(b"RIF")[1]) == 1


def cut(data: bytes) -> bytes:
    return data[:30]


def other_form(data: bytes) -> bytes:
    return data[:8] + b"RMID" + data[12:]


def no_format(data: bytes) -> bytes:
    return data.replace(b"fmt ", b"fmt_")


def huge_chunk(data: bytes) -> bytes:
    return data[:12] + b"JUNK\xff\xff\xff\x7f" + data[12:]


def pictures(data: bytes) -> bytes:
    return data[:12] + (b"PICT" + struct.pack("<I", 2**20) + bytes(2**20)) * 5 + data[12:]


def no_channel(data: bytes) -> bytes:
    return data[:22] + struct.pack("<H", 0) + data[24:]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (cut, "ends within its RIFF/WAVE header"),
        (other_form, "is not a WAVE file"),
        (no_format, "names no format"),
        (huge_chunk, "2,147,483,647 bytes"),
        (pictures, "more than 4,194,304 bytes before its samples"),
        (no_channel, "number of channels"),
    ],
)
def test_a_wrong_header_gives_one_sentence(tmp_path: Path, change: Callable[[bytes], bytes], part: str) -> None:
    with pytest.raises(InputError) as caught:
        heard(change(wave(tmp_path, "s16le", 1)))
    assert part in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("rate_hz", "channels"), [(0, 1), (10**8, 1), (8000, 0), (8000, 257)])
def test_a_wrong_format_is_refused(rate_hz: int, channels: int) -> None:
    with pytest.raises(InputError, match="must be between"):
        PcmFormat(sample_rate_hz=rate_hz, channels=channels, encoding="s16le")


@pytest.mark.parametrize(("done_bytes", "gib"), [(2**31, 2), (2**31 - 44, 2), (2**31 + 4096, 2), (2**32 - 1, 4)])
def test_a_wav_that_ends_at_its_size_limit_says_so(done_bytes: int, gib: int) -> None:
    pcm = PcmStream(source=ByteStream(io.BytesIO().read), format=MONO, has_header=True, done_bytes=done_bytes)
    assert pcm.limit is not None and f"ended at {gib} GiB" in pcm.limit and "-t raw" in pcm.limit
    pcm.bytes_left = 0
    assert pcm.limit is None, "the length was known"


@pytest.mark.parametrize("done_bytes", [0, 88_200, 2**30, 2**31 - 2**18, 3 * 2**30])
def test_a_wav_that_ends_anywhere_else_has_no_note(done_bytes: int) -> None:
    pcm = PcmStream(source=ByteStream(io.BytesIO().read), format=MONO, has_header=True, done_bytes=done_bytes)
    assert pcm.limit is None


def test_bytes_are_counted_towards_the_size_limit(tmp_path: Path) -> None:
    data = wave(tmp_path, "s16le", 1)
    start = data.index(b"data") + 8
    unknown = io.BytesIO(data[: start - 4] + struct.pack("<I", 2**31) + data[start:])
    with open_sound(unknown.read, MONO) as sound:
        assert sum(map(len, sound.blocks)) == 1000
    assert sound.pcm is not None and sound.pcm.done_bytes == 2000 and sound.limit is None
    sound.pcm.done_bytes += 2**31
    assert sound.limit is not None
    with open_sound(io.BytesIO(bytes(2000)).read, MONO) as sound:
        assert sum(map(len, sound.blocks)) == 1000
    assert sound.pcm is not None
    sound.pcm.done_bytes += 2**31
    assert sound.limit is None, "raw PCM has no length"
