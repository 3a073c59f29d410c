"""The container is found from the first bytes of a stream; raw PCM has none."""

import numpy as np
import pytest
from sound_files import PCM, encoded, mp3, wav, wave64, written

from asc.audio.containers import START_BYTES, container_of, id3_bytes

KINDS = {
    "wav": lambda: wav(len(PCM)),
    "w64": lambda: wave64(as_sox=True),
    "aiff": lambda: written("AIFF", "PCM_16"),
    "au": lambda: written("AU", "PCM_16"),
    "caf": lambda: written("CAF", "PCM_16"),
    "flac": lambda: written("FLAC", "PCM_16"),
    "ogg": lambda: written("OGG", "VORBIS"),
    "mp3": lambda: mp3("VARIABLE"),
    "aac": lambda: encoded("aac", "adts"),
    "ac3": lambda: encoded("ac3", "ac3"),
    "eac3": lambda: encoded("eac3", "eac3"),
    "mov": lambda: encoded("aac", "ipod"),
    "matroska": lambda: encoded("libopus", "webm", rate_hz=48_000),
    "asf": lambda: encoded("wmav2", "asf"),
    "wv": lambda: encoded("wavpack", "wv"),
    "mpegts": lambda: encoded("mp2", "mpegts"),
    "tta": lambda: encoded("tta", "tta"),
    "flv": lambda: encoded("aac", "flv"),
    "avi": lambda: encoded("libmp3lame", "avi"),
}


@pytest.mark.parametrize("demuxer", KINDS)
def test_every_container_is_recognised_by_its_first_bytes(demuxer: str) -> None:
    found = container_of(KINDS[demuxer]()[:4096])
    assert found is not None and found.demuxer == demuxer


@pytest.mark.parametrize("demuxer", ["mp3", "aac", "ac3", "eac3"])
def test_frames_are_found_in_a_stream_joined_midway(demuxer: str) -> None:
    data = KINDS[demuxer]()[333:]
    assert container_of(data[:4096]) is None
    found = container_of(data[:START_BYTES].ljust(START_BYTES, b"\0"))
    assert found is not None and found.demuxer == demuxer
    assert container_of(data, ended=True) == found


@pytest.mark.parametrize("seed", range(20))
def test_raw_pcm_is_not_taken_for_a_container(seed: int) -> None:
    level = 10.0 ** -(seed % 5)
    values = np.random.default_rng(seed).standard_normal(START_BYTES // 2).clip(-1, 1) * level * 32_767
    for data in (values.astype("<i2").tobytes(), values.astype(np.float32).tobytes(), PCM[:START_BYTES]):
        assert container_of(data[:16]) is None and container_of(data[:START_BYTES]) is None


def test_the_length_of_an_id3_tag() -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x02\x01"
    assert id3_bytes(tag) == 10 + 257
    assert id3_bytes(tag.replace(b"\x04\x00\x00", b"\x04\x00\x10")) == 20 + 257
    assert id3_bytes(b"ID3\x04\x00\x00\x00\x00\x02\x81") == id3_bytes(tag[:9]) == id3_bytes(b"RIFF" + bytes(9)) == 0
