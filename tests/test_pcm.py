"""Raw PCM: every format, headers as programs send them, pieces of any size."""

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
from asc.pcm import Encoding, PcmFormat, open_pcm

SUBTYPES = {"u8": "PCM_U8", "s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT"}
MONO = PcmFormat(sample_rate_hz=8000, channels=1, encoding="s16le")


def heard(data: bytes, asked: PcmFormat = MONO, *, most: int = 2**16) -> tuple[PcmFormat, NDArray[np.float32]]:
    stream = io.BytesIO(data)
    pcm = open_pcm(lambda count: stream.read(min(count, most)), asked)
    blocks = list(pcm.blocks)
    assert all(len(block) for block in blocks)
    return pcm.format, np.concatenate([np.zeros(0, np.float32), *blocks])


def sound(channels: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-1, 1, (1000, channels))


def wave(tmp_path: Path, encoding: str, channels: int, *, container: str = "WAV") -> bytes:
    path = tmp_path / "sound.wav"
    soundfile.write(path, sound(channels), 22_050, subtype=SUBTYPES[encoding], format=container)
    return path.read_bytes()


@pytest.mark.parametrize("encoding", get_args(Encoding))
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_samples_are_those_of_libsndfile(tmp_path: Path, encoding: Encoding, channels: int, container: str) -> None:
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
def test_reads_of_any_size_change_nothing(tmp_path: Path, encoding: Encoding, most: int) -> None:
    data = wave(tmp_path, encoding, 2)
    assert np.array_equal(heard(data, most=most)[1], heard(data)[1])


@pytest.mark.parametrize("length", [0, 2**31 - 1, 2**31, 2**32 - 1, 2**31 - 36 - 4096])
def test_a_length_that_no_stream_can_know_is_not_believed(tmp_path: Path, length: int) -> None:
    data = wave(tmp_path, "s16le", 1)
    start = data.index(b"data") + 8
    unknown = data[: start - 4] + struct.pack("<I", length) + data[start:]
    assert np.array_equal(heard(unknown)[1], heard(data)[1])


def test_what_follows_the_data_is_not_heard(tmp_path: Path) -> None:
    data = wave(tmp_path, "s16le", 1)
    assert np.array_equal(heard(data + b"LIST\x04\x00\x00\x00abcd")[1], heard(data)[1])
    before = data[:12] + b"LIST\x03\x00\x00\x00abc\x00" + data[12:]  # an odd chunk has a byte of padding
    assert np.array_equal(heard(before)[1], heard(data)[1])


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
def test_lengths_of_64_bits_are_read(tmp_path: Path, magic: bytes) -> None:
    data = magic + wave(tmp_path, "s24le", 2, container="RF64")[4:]
    start = data.index(b"data") + 8
    assert data[start - 4 : start] == b"\xff" * 4, "the length stands in the chunk ds64"
    expected = heard(wave(tmp_path, "s24le", 2))
    for more in (b"", b"LIST\x04\x00\x00\x00abcd"):
        form, samples = heard(data + more)
        assert form == expected[0] and np.array_equal(samples, expected[1])
    where = data.index(b"ds64") + 16
    for unknown in (0, 2**64 - 1):
        changed = data[:where] + struct.pack("<Q", unknown) + data[where + 8 :]
        assert np.array_equal(heard(changed)[1], expected[1])


@pytest.mark.parametrize(
    ("container", "subtype", "endian", "begin", "name"),
    [
        ("AIFF", "PCM_16", "FILE", b"FORM", "AIFF"),
        ("AU", "PCM_16", "FILE", b".snd", "AU"),
        ("FLAC", "PCM_16", "FILE", b"fLaC", "FLAC"),
        ("OGG", "VORBIS", "FILE", b"OggS", "Ogg"),
        ("WAV", "PCM_16", "BIG", b"RIFX", "RIFX"),
        ("W64", "PCM_16", "FILE", b"riff", "Wave64"),
        ("CAF", "PCM_16", "FILE", b"caff", "CAF"),
    ],
)
def test_another_container_is_no_raw_pcm(
    tmp_path: Path, container: str, subtype: str, endian: str, begin: bytes, name: str
) -> None:
    path = tmp_path / "sound"
    soundfile.write(path, sound(1), 22_050, subtype=subtype, endian=endian, format=container)
    assert path.read_bytes().startswith(begin)
    refused(path.read_bytes(), name)


@pytest.mark.parametrize(
    ("begin", "name"),
    [
        (b"ID3\x04\x00\x00\x00\x00\x00\x21TSSE", "MP3"),
        (b"\x00\x00\x00\x20ftypM4A \x00\x00\x02\x00", "MP4"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01", "Matroska"),
    ],
)
def test_what_libsndfile_does_not_write_is_no_raw_pcm_either(begin: bytes, name: str) -> None:
    refused(begin + bytes(1000), name)


def refused(data: bytes, name: str) -> None:
    for most in (1, 2**16):
        with pytest.raises(InputError) as caught:
            heard(data, most=most)
        text = str(caught.value)
        assert name in text and "send WAV or raw PCM" in text and "\n" not in text


def test_half_a_frame_at_the_end_is_dropped() -> None:
    assert len(heard(b"\x00" * 7)[1]) == 3
    assert len(heard(b"")[1]) == 0
    assert len(heard(b"RIF")[1]) == 1


def cut(data: bytes) -> bytes:
    return data[:30]


def other_form(data: bytes) -> bytes:
    return data[:8] + b"AVI " + data[12:]


def a_law(data: bytes) -> bytes:
    return data[:20] + struct.pack("<H", 6) + data[22:]


def no_format(data: bytes) -> bytes:
    return data.replace(b"fmt ", b"fmt_")


def huge_chunk(data: bytes) -> bytes:
    return data[:12] + b"JUNK\xff\xff\xff\x7f" + data[12:]


def no_channel(data: bytes) -> bytes:
    return data[:22] + struct.pack("<H", 0) + data[24:]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (cut, "ends within its RIFF/WAVE header"),
        (other_form, "is no WAVE"),
        (a_law, "tag 6, 16 bits"),
        (no_format, "names no format"),
        (huge_chunk, "2,147,483,647 bytes"),
        (no_channel, "number of channels"),
    ],
)
def test_a_wrong_header_is_one_sentence(tmp_path: Path, change: Callable[[bytes], bytes], part: str) -> None:
    with pytest.raises(InputError) as caught:
        heard(change(wave(tmp_path, "s16le", 1)))
    assert part in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("rate_hz", "channels"), [(0, 1), (10**8, 1), (8000, 0), (8000, 257)])
def test_a_wrong_format_is_refused(rate_hz: int, channels: int) -> None:
    with pytest.raises(InputError, match="must lie within"):
        PcmFormat(sample_rate_hz=rate_hz, channels=channels, encoding="s16le")
