"""Compressed sound through FFmpeg, from files and from pipes. Nothing is read but the given bytes."""

import io
import socket
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from sound_files import encoded

from asc.audio.av_audio import open_av
from asc.errors import AudioProblem

RATE_HZ = 48_000
TIME_S = np.arange(2 * RATE_HZ) / RATE_HZ
SOUND = (0.3 * np.sin(2 * np.pi * (200 + 500 * TIME_S) * TIME_S)).astype(np.float32)  # sweep: no two parts are alike


class Pipe:
    """Like a pipe: gives at most `piece` bytes per read and cannot seek."""

    def __init__(self, data: bytes, piece: int = 700) -> None:
        self._file, self._piece = io.BytesIO(data), piece

    def read(self, count: int, /) -> bytes:
        return self._file.read(min(count, self._piece))


def kept(path: Path, codec: str, container: str, sound: NDArray[np.float32] = SOUND, **options: str) -> bytes:
    """Write the sound to a file and return its bytes; `sound` is (samples,) at full scale 1."""
    return encoded(codec, container, rate_hz=RATE_HZ, sound=sound, path=path, **options)


def heard(source: Path | Pipe, *, lenient: bool = False) -> NDArray[np.float32]:
    with open_av(source, lenient=lenient) as sound:
        assert sound.sample_rate_hz == RATE_HZ
        blocks = list(sound.blocks)
    assert all(block.dtype == np.float32 and block.ndim == 2 for block in blocks)
    return np.concatenate(blocks)[:, 0]


@pytest.mark.parametrize(
    ("codec", "container", "options", "late_samples"),
    [
        ("aac", "adts", {}, 1024),
        ("aac", "ipod", {"movflags": "faststart"}, 0),
        ("aac", "mp4", {"movflags": "frag_keyframe+empty_moov"}, 1024),
        ("alac", "caf", {}, 0),
        ("ac3", "ac3", {}, 256),
        ("eac3", "eac3", {}, 256),
        ("wavpack", "wv", {}, 0),
        ("flac", "matroska", {}, 0),
        ("flac", "ogg", {}, 0),
        ("libopus", "webm", {}, 0),
        ("wmav2", "asf", {}, -2048),
        ("libmp3lame", "mp3", {}, 0),
        ("libmp3lame", "mp3", {"write_xing": "0", "id3v2_version": "0"}, 1105),
        ("mp2", "mpegts", {}, 481),
    ],
)
def test_every_container_is_read_from_a_file_and_a_pipe(
    tmp_path: Path, codec: str, container: str, options: dict[str, str], late_samples: int
) -> None:
    data = kept(tmp_path / "a", codec, container, **options)
    sound = heard(tmp_path / "a")
    assert abs(len(sound) - len(SOUND) - late_samples) <= 4096
    middle = sound[RATE_HZ // 2 + late_samples : RATE_HZ + late_samples]
    assert np.corrcoef(middle, SOUND[RATE_HZ // 2 : RATE_HZ])[0, 1] > 0.99
    if container != "caf":  # its packet table is at the end
        piped = heard(Pipe(data), lenient=True)
        assert abs(len(piped) - len(sound)) <= 2 * 1152 and np.array_equal(piped[:RATE_HZ], sound[:RATE_HZ])


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_full_scale_is_one_for_every_sample_format(tmp_path: Path, subtype: str) -> None:
    stereo = np.stack([SOUND, -0.5 * SOUND], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, RATE_HZ, subtype=subtype)
    with open_av(tmp_path / "a.wav") as sound:
        assert sound.channels == 2
        found = np.concatenate(list(sound.blocks))
    expected, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert np.array_equal(found, expected)


def test_tags_before_the_sound_are_skipped(tmp_path: Path) -> None:
    data = kept(tmp_path / "a.aac", "aac", "adts")
    tag = b"ID3\x04\x00\x00" + bytes((0, 10, 0, 0)) + bytes(10 << 14)
    (tmp_path / "tagged").write_bytes(tag + tag + data)
    plain = heard(tmp_path / "a.aac")
    assert np.array_equal(heard(tmp_path / "tagged"), plain)
    assert np.array_equal(heard(Pipe(tag + tag + data)), plain)


def test_a_broadcast_joined_midway_is_read(tmp_path: Path) -> None:
    data = kept(tmp_path / "a.mp3", "libmp3lame", "mp3", write_xing="0", id3v2_version="0")
    (tmp_path / "b.mp3").write_bytes(data[777:])
    whole, late = heard(tmp_path / "a.mp3"), heard(tmp_path / "b.mp3")
    assert 0 < len(whole) - len(late) <= 6 * 1152
    assert np.array_equal(late[-RATE_HZ:], whole[-RATE_HZ:])


def test_damage_in_the_middle_is_reported_or_skipped_if_lenient(tmp_path: Path) -> None:
    data = bytearray(kept(tmp_path / "a.aac", "aac", "adts"))
    middle = len(data) // 2
    data[middle : middle + 300] = b"\x55" * 300
    with pytest.raises(AudioProblem, match="damaged: a part of this AAC"):
        heard(Pipe(bytes(data)))
    assert RATE_HZ < len(heard(Pipe(bytes(data)), lenient=True)) < len(SOUND)


@pytest.mark.parametrize("codec", ["flac", "wavpack"])
def test_checksums_of_lossless_codecs_are_verified(tmp_path: Path, codec: str) -> None:
    noise = np.random.default_rng(0).standard_normal(2 * RATE_HZ).astype(np.float32) * 0.1
    data = bytearray(kept(tmp_path / "a", codec, "matroska", noise))
    middle = len(data) // 2
    data[middle] ^= 0x55
    with pytest.raises(AudioProblem, match="damaged"):
        heard(Pipe(bytes(data)))


def test_a_changing_rate_is_reported(tmp_path: Path) -> None:
    parts = []
    for rate_hz in (48_000, 44_100):
        soundfile.write(tmp_path / "a.mp3", SOUND, rate_hz, format="MP3")
        parts.append((tmp_path / "a.mp3").read_bytes())
    with pytest.raises(AudioProblem, match="its rate changes from 48,000 to 44,100 Hz after [12].. s"):
        heard(Pipe(b"".join(parts)))


def test_an_index_at_the_end_is_reported_for_a_pipe(tmp_path: Path) -> None:
    data = kept(tmp_path / "a.m4a", "aac", "ipod")
    assert len(heard(tmp_path / "a.m4a")) >= len(SOUND)
    for lenient in (False, True):
        with pytest.raises(AudioProblem, match="index at the end"):
            heard(Pipe(data), lenient=lenient)


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        stream = output.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        for _ in range(5):
            output.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(AudioProblem, match="no sound: this MP4 has no sound track"):
        heard(tmp_path / "a.mp4")


def _playlist(target: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n".encode()


def _concatenation(target: str) -> bytes:
    return f"ffconcat version 1.0\nfile '{target}'\n".encode()


def _session(target: str) -> bytes:
    return b"v=0\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\na=control:" + target.encode() + b"\n"


@pytest.mark.parametrize("script", [_playlist, _concatenation, _session])
@pytest.mark.parametrize("name", ["a.mp3", "a.m3u8", "a.m4a"])
def test_scripts_that_name_other_files_are_not_followed(
    tmp_path: Path, script: Callable[[str], bytes], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a readable file nor an address: no connection reaches the server."""
    soundfile.write(tmp_path / "other.wav", SOUND, RATE_HZ)
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        for target in ("other.wav", str(tmp_path / "other.wav"), f"http://127.0.0.1:{server.getsockname()[1]}/a.wav"):
            (tmp_path / name).write_bytes(script(target))
            with pytest.raises(AudioProblem, match="known sound format"):
                heard(tmp_path / name)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_an_interrupt_while_reading_a_pipe_is_raised(tmp_path: Path) -> None:
    data = kept(tmp_path / "a.aac", "aac", "adts")

    class Interrupted(Pipe):
        def __init__(self) -> None:
            super().__init__(data)
            self.left = len(data) // 2

        def read(self, count: int, /) -> bytes:
            if self.left <= 0:
                raise KeyboardInterrupt
            given = super().read(count)
            self.left -= len(given)
            return given

    with pytest.raises(KeyboardInterrupt):
        heard(Interrupted())


def test_ffmpeg_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(kept(tmp_path / "a.aac", "aac", "adts"))
    capfd.readouterr()
    data[len(data) // 2 : len(data) // 2 + 300] = b"\x55" * 300
    with pytest.raises(AudioProblem):
        heard(Pipe(bytes(data)))
    (tmp_path / "cut.mp4").write_bytes(kept(tmp_path / "b.m4a", "aac", "ipod")[:5000])
    capfd.readouterr()
    with pytest.raises(AudioProblem):
        heard(tmp_path / "cut.mp4")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("data", [b"", b"this is no audio at all, only text", bytes(100_000)])
def test_data_that_is_not_sound_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    for source in (tmp_path / "a", Pipe(data)):
        with pytest.raises(AudioProblem, match="known sound format"):
            heard(source)
