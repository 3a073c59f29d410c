"""Sound read from a pipe equals that of the file and arrives while the pipe is read, whatever the container."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asc.errors import InputError
from asc.inference.pcm import PcmFormat
from asc.inference.sound_stream import SoundStream, open_sound

ASKED = PcmFormat(sample_rate_hz=8000, channels=1, encoding="s16le")
RATE_HZ = 44_100
SECONDS = 6
TIME_S = np.arange(SECONDS * RATE_HZ) / RATE_HZ
NOISE = np.random.default_rng(0).standard_normal(len(TIME_S))
SOUND = (0.3 * np.sin(2763 * TIME_S) * (np.sin(4.4 * TIME_S) > 0) + 0.05 * NOISE).astype(np.float32)


class Pipe:
    """Returns at most `most` bytes at a time and counts them."""

    def __init__(self, data: bytes, most: int = 600) -> None:
        self._file, self._most = io.BytesIO(data), most

    def __call__(self, count: int) -> bytes:
        return self._file.read(min(count, self._most))

    @property
    def given(self) -> int:
        return self._file.tell()


def encoded(codec: str, container: str, rate_hz: int = RATE_HZ, **options: str) -> bytes:
    """A file as FFmpeg's encoders write it to a pipe, where they cannot seek."""
    parts: list[bytes] = []

    class Sink:
        def write(self, data: bytes) -> int:
            parts.append(bytes(data))
            return len(data)

    with av.open(Sink(), "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout="mono")
        stream.bit_rate = 96_000
        formats = stream.codec_context.codec.audio_formats
        names = [each.name for each in formats or ()]
        resampler = av.AudioResampler(format=names[0] if names else "fltp", layout="mono", rate=rate_hz)
        for start in range(0, len(SOUND), 4410):
            frame = av.AudioFrame.from_ndarray(SOUND[None, start : start + 4410], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, start
            for piece in resampler.resample(frame):
                output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return b"".join(parts)


def written(container: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SOUND, RATE_HZ, format=container, subtype=subtype)
    return file.getvalue()


def heard(data: bytes, most: int = 600) -> tuple[SoundStream, NDArray[np.float32]]:
    """Read `data` from a pipe; return the stream and its mono sound, (samples,), full scale 1."""
    with open_sound(Pipe(data, most), ASKED) as sound:
        return sound, np.concatenate([np.zeros(0, np.float32), *(block.sound for block in sound.blocks)])


WITHOUT_TAG = {"write_xing": "0", "id3v2_version": "0"}
STREAMS: list[tuple[str, Callable[[], bytes], str, float]] = [
    ("mp3", lambda: encoded("libmp3lame", "mp3", **WITHOUT_TAG), "mp3 (decoded from MP3)", 0.3),
    ("mp3 with a tag", lambda: encoded("libmp3lame", "mp3"), "mp3 (decoded from MP3)", 0.4),
    ("mp2", lambda: encoded("mp2", "mp2"), "mp2 (decoded from MP3)", 0.5),
    ("aac", lambda: encoded("aac", "adts"), "aac (decoded from AAC)", 0.3),
    ("latm", lambda: encoded("aac", "latm"), "aac_latm (decoded from AAC (LOAS))", 0.3),
    ("ac3", lambda: encoded("ac3", "ac3"), "ac3 (decoded from AC-3)", 0.3),
    ("eac3", lambda: encoded("eac3", "eac3"), "eac3 (decoded from E-AC-3)", 0.3),
    ("ts", lambda: encoded("aac", "mpegts"), "aac (decoded from MPEG transport stream)", 0.6),
    ("asf", lambda: encoded("wmav2", "asf"), "wmav2 (decoded from ASF)", 0.4),
    ("wavpack", lambda: encoded("wavpack", "wv"), "wavpack (decoded from WavPack)", 1.6),
    ("flac", lambda: encoded("flac", "flac"), "flac (decoded from FLAC)", 1.6),
    ("ogg vorbis", lambda: written("OGG", "VORBIS"), "vorbis (decoded from Ogg)", 1.5),
    ("ogg opus", lambda: encoded("libopus", "ogg", 48_000), "opus (decoded from Ogg)", 1.6),
    ("webm", lambda: encoded("libopus", "webm", 48_000), "opus (decoded from Matroska)", 0.5),
    ("mka", lambda: encoded("aac", "matroska"), "aac (decoded from Matroska)", 0.5),
    ("mp4", lambda: encoded("aac", "mp4", movflags="frag_keyframe+empty_moov"), "aac (decoded from MP4)", 0.9),
    ("flv", lambda: encoded("aac", "flv"), "aac (decoded from FLV)", 0.4),
    ("aiff", lambda: written("AIFF", "PCM_16"), "pcm_s16be (decoded from AIFF)", 0.3),
    ("aiff of a pipe", lambda: encoded("pcm_s16be", "aiff"), "pcm_s16be (decoded from AIFF)", 0.3),
    ("w64", lambda: written("W64", "PCM_16"), "pcm_s16le (decoded from Wave64)", 1.2),
    ("w64 of a pipe", lambda: encoded("pcm_s16le", "w64"), "pcm_s16le (decoded from Wave64)", 1.2),
    ("au", lambda: written("AU", "PCM_16"), "pcm_s16be (decoded from AU)", 0.3),
    ("au of a pipe", lambda: encoded("pcm_s16be", "au"), "pcm_s16be (decoded from AU)", 0.3),
    ("caf", lambda: encoded("pcm_s16be", "caf"), "pcm_s16be (decoded from CAF)", 0.3),
    ("a-law", lambda: written("WAV", "ALAW"), "pcm_alaw (decoded from WAV)", 0.4),
    ("adpcm", lambda: written("WAV", "MS_ADPCM"), "adpcm_ms (decoded from WAV)", 0.5),
    ("doubles", lambda: written("WAV", "DOUBLE"), "pcm_f64le (decoded from WAV)", 0.3),
    ("wav", lambda: written("WAV", "PCM_16"), "s16le (as its WAV header says)", 0.1),
]


@pytest.mark.parametrize(("make", "title", "most_late_s"), [each[1:] for each in STREAMS], ids=[s[0] for s in STREAMS])
def test_a_pipe_gives_its_sound_with_little_delay(make: Callable[[], bytes], title: str, most_late_s: float) -> None:
    data = make()
    pipe, done, blocks = Pipe(data), 0, []
    with open_sound(pipe, ASKED) as sound:
        assert sound.title.endswith(f" Hz, 1 channel, {title}") and sound.limit is None
        for block in sound.blocks:
            if pipe.given < 0.9 * len(data):  # at the end of the file many blocks come at once
                late_s = pipe.given / len(data) * SECONDS - done / sound.sample_rate_hz
                assert late_s < most_late_s, f"{late_s:.2f} s of sound were read before {done} samples were heard"
            done += len(block)
            blocks.append(block.sound)
    found = np.concatenate(blocks)
    assert abs(len(found) / sound.sample_rate_hz - SECONDS) < 0.1
    if sound.sample_rate_hz == RATE_HZ:
        assert likeness(found) > 0.9
    assert np.array_equal(heard(data, most=2**16)[1], found)


def likeness(found: NDArray[np.float32], seconds: float = SECONDS) -> float:
    """The correlation of `found`, (samples,), with the sound that was sent, after the codec's delay is removed."""
    most, start, count = 3_000, 10_000, round(seconds * RATE_HZ) - 20_000
    window = SOUND[start : start + 20_000]
    late = int(np.argmax(np.correlate(found[start - most : start + 20_000 + most], window, "valid"))) - most
    return float(np.corrcoef(found[start + late : start + late + count], SOUND[start : start + count])[0, 1])


def test_stereo_is_the_mean_of_its_channels() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.stack([SOUND, np.zeros_like(SOUND)], axis=1), RATE_HZ, format="FLAC")
    sound, found = heard(file.getvalue())
    assert "2 channels, flac" in sound.title
    np.testing.assert_allclose(found, SOUND / 2, atol=1e-4)
    raw = PcmFormat(sample_rate_hz=RATE_HZ, channels=2, encoding="f32le")
    opposite = np.stack([SOUND, -SOUND], axis=1)
    file = io.BytesIO()
    soundfile.write(file, opposite, RATE_HZ, format="FLAC")
    for data in (file.getvalue(), opposite.astype("<f4").tobytes()):
        with open_sound(Pipe(data, 2**16), raw) as stereo:
            blocks = list(stereo.blocks)
        assert not any(block.sound.any() for block in blocks)
        np.testing.assert_allclose(np.concatenate([b.loudest for b in blocks]), np.abs(SOUND), atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: encoded("libmp3lame", "mp3", **WITHOUT_TAG),
        lambda: encoded("aac", "adts"),
        lambda: encoded("flac", "flac"),
        lambda: encoded("libopus", "webm", 48_000),
        lambda: encoded("aac", "mp4", movflags="frag_keyframe+empty_moov"),
        lambda: encoded("libopus", "ogg", 48_000),
        lambda: written("W64", "PCM_16"),
        lambda: encoded("aac", "mpegts"),
    ],
    ids=["mp3", "aac", "flac", "webm", "mp4", "ogg", "w64", "ts"],
)
def test_a_stream_cut_in_the_middle_of_a_frame_ends_there(make: Callable[[], bytes]) -> None:
    data = make()
    for part in (0.5, 0.5003, 0.73):
        sound, found = heard(data[: round(part * len(data))])
        assert part * SECONDS - 1.5 < len(found) / sound.sample_rate_hz < part * SECONDS + 0.3


def test_a_broadcast_joined_in_the_middle_of_a_frame_starts_at_the_next_frame() -> None:
    data = encoded("libmp3lame", "mp3", **WITHOUT_TAG)
    sound, found = heard(data[777:])
    assert "mp3" in sound.title and SECONDS - 0.4 < len(found) / RATE_HZ < SECONDS


def test_damaged_frames_are_skipped() -> None:
    data = bytearray(encoded("aac", "adts"))
    data[len(data) // 2 : len(data) // 2 + 300] = b"\x55" * 300
    found = heard(bytes(data))[1]
    assert SECONDS - 0.5 < len(found) / RATE_HZ < SECONDS + 0.1


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "begins like HTML, which cannot be read from a stream"),
        (b"RIFX\x00\x00\x10\x00WAVEfmt " + bytes(5000), "begins like big-endian WAV (RIFX)"),
        (b"\x7f\xfe\x80\x01" + bytes(5000), "begins like DTS"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x05hello" + bytes(9000), "begins like an ID3 tag without a known sound"),
        (b"\x1aE\xdf\xa3" + bytes(9000), "cannot be used (unreadable: damaged or cut off (FFmpeg on this Mat"),
        (b"fLaC" + bytes(9000), "cannot be used"),
        (b"wvpk", "cannot be used"),
        (b"FORM\x00\x00\x00\x00AIFFSSND", "cannot be used"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "cannot be used"),
    ],
)
def test_an_unreadable_stream_gives_one_sentence(data: bytes, part: str) -> None:
    for most in (1, 2**16):
        with pytest.raises(InputError) as caught:
            heard(data, most)
        assert part in str(caught.value) and "WAV or raw PCM" in str(caught.value) and "\n" not in str(caught.value)


def test_an_mp4_with_its_index_at_the_end_gives_one_sentence(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.m4a"), "w", format="ipod") as output:
        stream = output.add_stream("aac", rate=RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(SOUND[None, :44_100], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE_HZ, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(
        InputError, match="from a pipe: this MP4 is damaged or has its index at the end, so give the fil"
    ):
        heard((tmp_path / "a.m4a").read_bytes())


def test_a_wav_of_an_unknown_codec_is_refused() -> None:
    data = written("WAV", "PCM_16")
    with pytest.raises(InputError, match="the stream cannot be used"):
        heard(data[:20] + struct.pack("<H", 0x7777) + data[22:])


def test_a_sample_rate_out_of_range_is_refused() -> None:
    file = io.BytesIO()
    soundfile.write(file, SOUND[:4_000], 50, format="WAV", subtype="ALAW")
    with pytest.raises(InputError, match="the rate must be between"):
        heard(file.getvalue())


def test_samples_that_are_not_finite_give_one_sentence() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.full(9_000, np.nan), RATE_HZ, format="AU", subtype="FLOAT")
    with pytest.raises(InputError, match="not finite: it has NaN"):
        heard(file.getvalue())
