"""The start of a stream: coded streams are found, and raw PCM is never taken for one."""

import io
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asc.audio.containers import AC3, ADTS, EAC3, MPEG_AUDIO, TRANSPORT_STREAM, Container
from asc.audio.stream_start import found_in, other_name

REAL_ESC10 = Path(__file__).parents[3] / "shared" / "data" / "esc10"
RNG = np.random.default_rng(0)
STARTS = 6_000  # bytes of PCM; the search reads fewer unless they look like frames


def found(data: bytes) -> tuple[Container, int] | None:
    said = found_in(lambda count: data[:count])
    return None if said is None else (said.container, said.skip)


def encoded(
    codec: str, container: str, rate_hz: int, kbps: int, layout: str = "mono", *, silent: bool = False
) -> bytes:
    """Encode two seconds of noise of varying loudness (or of silence) with FFmpeg."""
    count, channels = 2 * rate_hz, 1 if layout == "mono" else 2
    loudness = 0 if silent else 0.2 * np.sin(np.arange(count) / rate_hz * 5) ** 2
    sound = (loudness * np.random.default_rng(1).standard_normal((channels, count))).astype(np.float32)
    file = io.BytesIO()
    with av.open(file, "w", format=container, options={"write_xing": "0", "id3v2_version": "0"}) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout=layout)
        stream.bit_rate = 1000 * kbps
        kind = stream.codec_context.codec.audio_formats
        resampler = av.AudioResampler(format=kind[0] if kind else "fltp", layout=layout, rate=rate_hz)
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, 0
        for piece in resampler.resample(frame):
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return file.getvalue()


CODED = [
    ("libmp3lame", "mp3", 44_100, 128, MPEG_AUDIO),
    ("libmp3lame", "mp3", 48_000, 320, MPEG_AUDIO),
    ("libmp3lame", "mp3", 22_050, 64, MPEG_AUDIO),
    ("libmp3lame", "mp3", 8_000, 8, MPEG_AUDIO),
    ("mp2", "mp2", 48_000, 192, MPEG_AUDIO),
    ("aac", "adts", 44_100, 128, ADTS),
    ("aac", "adts", 16_000, 24, ADTS),
    ("ac3", "ac3", 48_000, 448, AC3),
    ("ac3", "ac3", 44_100, 96, AC3),
    ("eac3", "eac3", 48_000, 128, EAC3),
    ("aac", "mpegts", 48_000, 128, TRANSPORT_STREAM),
]


@pytest.mark.parametrize(("codec", "container", "rate_hz", "kbps", "kind"), CODED)
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_coded_streams_are_found_from_any_point(
    codec: str, container: str, rate_hz: int, kbps: int, kind: Container, layout: str
) -> None:
    if kbps == 8 and layout == "stereo":
        kbps = 16
    data = encoded(codec, container, rate_hz, kbps, layout)
    assert found(data) == (kind, 0)
    for place in RNG.integers(0, len(data) // 3, 40).tolist():
        said = found(data[place:])
        assert said is not None and said[0] == kind and said[1] < 4096
    assert found(encoded(codec, container, rate_hz, kbps, layout, silent=True)) == (kind, 0)


def test_three_frames_are_enough_and_two_are_not() -> None:
    data = encoded("libmp3lame", "mp3", 48_000, 128)
    assert found(data[: 3 * 384]) == found(data[: 3 * 384 + 50]) == (MPEG_AUDIO, 0)
    assert found(data[: 2 * 384]) is None


def as_pcm(sound: NDArray[np.float64]) -> Iterator[bytes]:
    """Encode samples of full scale 1, (samples,) float64, as every PCM type of a stream: u8, 16, 32, 24 bits, float."""
    yield (sound * 127 + 128).astype("u1").tobytes()
    yield (sound * 32_767).astype("<i2").tobytes()
    yield (sound * 2_147_483_647).astype("<i4").tobytes()
    yield (sound * 2_147_483_647).astype("<i4").view("u1").reshape(-1, 4)[:, 1:].tobytes()
    yield sound.astype("<f4").tobytes()


def test_pcm_of_real_recordings_is_not_taken_for_a_coded_stream(tiny_csv: Path) -> None:
    files = sorted((REAL_ESC10 / "audio").glob("*.ogg"))[::8] or sorted(tiny_csv.parent.glob("*.wav"))
    for file in files:
        sound, _ = soundfile.read(file, dtype="float64", always_2d=True)
        for pcm in as_pcm(sound.mean(axis=1).clip(-1, 1)):
            for start in RNG.integers(0, max(1, len(pcm) - STARTS), 3).tolist():
                assert found(pcm[start : start + STARTS]) is None


@pytest.mark.parametrize("peak", [1, 2**-5, 2**-8, 2**-11, 2**-13, 2**-14, 2**-15])
def test_noise_is_not_taken_for_a_coded_stream(peak: float) -> None:
    for _ in range(20):
        for pcm in as_pcm(peak * RNG.uniform(-1, 1, STARTS)):
            assert found(pcm) is None
        assert found(RNG.bytes(STARTS)) is None


def test_constants_are_not_taken_for_a_coded_stream() -> None:
    for value in range(256):
        assert found(bytes([value]) * STARTS) is None
    for value in (-1, -2, -15, -16, -256, -1025, 255, 256, 0x0B77, 0x770B, 0x4747, -8193, 32_767, -32_768):
        for width in (2, 3, 4):
            if -(2 ** (8 * width - 1)) <= value < 2 ** (8 * width - 1):
                assert found(value.to_bytes(width, "little", signed=True) * STARTS) is None


@pytest.mark.parametrize(
    "header",
    [
        b"\xff\xfb\x94\x64",  # MPEG layer 3, 384 bytes per frame
        b"\xff\xfb\x90\x64",
        b"\xff\xf1\x50\x80\x10\x1f\xfc\x00",  # ADTS, 128 bytes per frame
        b"\x0b\x77\x00\x00\x08\x40",  # AC-3, 192 bytes per frame
        b"\x56\xe0\x0d",  # LOAS, 16 bytes per frame
        b"\x47\x40\x00\x10",  # a packet of a transport stream
        b"\x47",
    ],
)
@pytest.mark.parametrize("period", [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 94, 96, 128, 188, 192])
def test_tones_that_repeat_a_header_are_not_taken_for_a_coded_stream(header: bytes, period: int) -> None:
    """PCM whose period divides the frame length repeats the header where each frame would begin."""
    wave = (header + bytes(range(60, 252)))[:period]
    if (header[:2], period) in ((b"\xff\xf1", 128), (b"\x0b\x77", 192)):
        return  # The period is exactly one frame, and coded silence is equal frames.
    for lead in (0, 1, 100):
        assert found((wave[:lead] + wave * (STARTS // period + 2))[:STARTS]) is None


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\x7f\xfe\x80\x01\xfc", "DTS"),
        (b"<!DOCTYPE html>\n<", "HTML"),
        (b"#EXTM3U\n#EXTINF:9", "a playlist"),
        (b"HTTP/1.1 404 Not", "an HTTP answer"),
        (b"PK\x03\x04" + bytes(12), "a ZIP archive"),
        (b"Creative Voice File", "VOC"),
    ],
)
def test_data_that_is_not_decoded_is_named(start: bytes, name: str) -> None:
    assert other_name(start[:16]) == name
    assert other_name(bytes(16)) is other_name(RNG.bytes(16)) is None


def test_little_pcm_is_read() -> None:
    asked: list[int] = []

    def peek(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    assert found_in(peek) is None and max(asked) <= 4102
