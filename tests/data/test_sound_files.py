"""Every common kind of sound file is read to its end whatever its header says, or refused, in bounded memory."""

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_files import (
    EXACT,
    EXACTLY,
    PCM,
    RATE_HZ,
    ROUGHLY,
    SAMPLES,
    SOUND,
    aiff,
    au,
    caf,
    encoded,
    flac_that_counts,
    joined,
    limited,
    rf64,
    wav,
    wave64,
    with_granule,
    written,
)

from asc.audio.audio_file import AudioProblem, checked_header, decode, decode_pieces, inspect, listen
from asc.audio.part_of_file import PartOfFile
from asc.audio.pcm_lengths import no_length, wave_payload
from asc.audio.sound import Header


def problem_of(path: Path) -> str:
    with pytest.raises(AudioProblem) as caught:
        inspect(path, RATE_HZ)
        decode(path, RATE_HZ)
    return str(caught.value)


@pytest.mark.parametrize("name", EXACTLY)
def test_exactly_the_whole_sound_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(EXACTLY[name]())
    assert checked_header(path) == Header(samples=SAMPLES, sample_rate_hz=RATE_HZ)
    sound = decode(path, RATE_HZ)
    assert np.array_equal(sound, EXACT) or (encoded_by_ffmpeg(name) and np.abs(sound - SOUND).max() <= 2**-15)
    cut = [SAMPLES // 3, SAMPLES - SAMPLES // 3]
    assert np.array_equal(np.concatenate([p.sound for p in decode_pieces(path, RATE_HZ, lambda _: cut)]), sound)
    assert inspect(path, 16_000) == -(-SAMPLES * 160 // 441)


def encoded_by_ffmpeg(name: str) -> bool:
    return name.split(".")[0] in ("alac", "flac")


@pytest.mark.parametrize("name", ROUGHLY)
def test_joined_lossy_files_are_read_to_the_end(tmp_path: Path, name: str) -> None:
    make, times = ROUGHLY[name]
    path = tmp_path / name
    path.write_bytes(make())
    header = checked_header(path)
    sound = decode(path, header.sample_rate_hz)
    assert len(sound) == header.samples and abs(len(sound) - times * SAMPLES) <= times * 2 * 2048
    places = [peak_place(sound[start : start + SAMPLES]) for start in range(0, times * SAMPLES, SAMPLES)]
    assert all(abs(place) <= 2 * 2048 for place in places), places


def peak_place(sound: np.ndarray) -> int:
    """Samples by which the first fifth of `SOUND` is delayed in `sound`, (samples,)."""
    part = SOUND[: SAMPLES // 5]
    size = 2 ** (len(sound) + len(part)).bit_length()
    found = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(part, size).conj())
    place = int(found.argmax())
    return place - size if place > size // 2 else place


def test_a_chained_stream_equals_its_parts(tmp_path: Path) -> None:
    one, two = tmp_path / "a.ogg", tmp_path / "b.ogg"
    one.write_bytes(written("OGG", "VORBIS"))
    soundfile.write(two, np.stack([SOUND, -0.5 * SOUND], axis=1), RATE_HZ, format="OGG")
    chain = tmp_path / "chain.ogg"
    chain.write_bytes(one.read_bytes() + two.read_bytes() + one.read_bytes())
    parts = [decode(path, RATE_HZ) for path in (one, two, one)]
    assert np.array_equal(decode(chain, RATE_HZ), np.concatenate(parts))
    soundfile.write(two, SOUND, 48_000, format="OGG")
    chain.write_bytes(one.read_bytes() + two.read_bytes())
    assert problem_of(chain) == "its rate changes from 44,100 to 48,000 Hz after 2.0 s: split it there"


@pytest.mark.parametrize("name", ["arecord.wav", "sox.w64", "ffmpeg.aiff", "unknown.rf64", "sox.caf"])
def test_a_recording_cut_within_a_sample_is_read_to_its_last_complete_sample(tmp_path: Path, name: str) -> None:
    data = EXACTLY[name]()
    end = data.rindex(PCM[-400:]) + 400 if name != "ffmpeg.aiff" else len(data)
    (tmp_path / name).write_bytes(data[: end - 1001])
    assert np.array_equal(decode(tmp_path / name, RATE_HZ), EXACT[:-501])


def test_placeholder_lengths_are_recognised() -> None:
    unknown = (0, 0x7F000008, 0x7FFFF000, 0x7FFFF024, 0x7FFFFFFF, 0x80000000, 0xFFFFFF00, 0xFFFFFFFE, 0xFFFFFFFF)
    assert all(map(no_length, unknown))
    assert not any(map(no_length, (2, 882_000, 0x70000000, 0x90000000, 3_000_000_000)))
    assert no_length(2**63 - 1, bits=64) and not no_length(2**40, bits=64)


@pytest.mark.parametrize(
    "make",
    [
        lambda: wav(len(PCM), pcm=PCM[:-1000]),
        lambda: wav(3_000_000_000),
        lambda: rf64(b"RF64", 2**40),
        lambda: rf64(b"BW64", len(PCM) + 1000),
        lambda: aiff(46 + len(PCM) + 1000, SAMPLES + 500, len(PCM) + 1008),
        lambda: flac_that_counts(SAMPLES + 1),
        lambda: written("MP3", "MPEG_LAYER_III")[:-9000],
        lambda: written("OGG", "VORBIS")[:-3000],
        lambda: encoded("aac", "ipod")[:-9000],
        lambda: encoded("aac", "ipod", movflags="frag_keyframe+empty_moov")[:-9000],
        lambda: encoded("wavpack", "wv")[:-9000],
        lambda: encoded("wmav2", "asf")[:-9000],
        lambda: encoded("libopus", "webm", rate_hz=48_000)[:-9000],
        lambda: encoded("alac", "caf")[:-9000],
    ],
)
def test_a_file_shorter_than_its_stated_length_is_refused(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a").write_bytes(make())
    assert problem_of(tmp_path / "a").startswith(("cut off: ", "unreadable: "))


def test_a_wav_beyond_4_gib_has_the_length_of_its_file(tmp_path: Path) -> None:
    """A sparse file with the sound at its end. Lengths wrap at 2^32, with and without a chunk after the samples."""
    path, hole = tmp_path / "overnight.wav", 2**32 + 2**20
    for behind in (b"", b"LIST\x04\x00\x00\x00INFO"):
        with path.open("wb") as file:
            file.write(wav((hole + len(PCM)) % 2**32, pcm=b""))
            file.seek(hole, os.SEEK_CUR)
            file.write(PCM + behind)
        assert checked_header(path) == Header(samples=hole // 2 + SAMPLES, sample_rate_hz=RATE_HZ)
        with path.open("rb") as file:
            payload = wave_payload(file, path.stat().st_size)
            assert payload is not None
            with soundfile.SoundFile(PartOfFile(file, payload.header, payload.start, payload.stop)) as sound:
                sound.seek(hole // 2)
                assert np.array_equal(sound.read(dtype="float32"), EXACT)
    assert problem_with_packing(path).startswith("too long for one clip (48,")


def problem_with_packing(path: Path) -> str:
    with pytest.raises(AudioProblem) as caught:
        inspect(path, RATE_HZ)
    return str(caught.value)


def test_true_lengths_are_used_whatever_follows(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for behind in (b"", b"tail", b"LIST\x04\x00\x00\x00INFO", bytes(5000)):
        path.write_bytes(wav(len(PCM)) + behind)
        assert np.array_equal(decode(path, RATE_HZ), EXACT)
    path.write_bytes(wav(0, pcm=b"LIST\x04\x00\x00\x00INFO"))
    assert problem_of(path) == "empty: no samples"


def test_a_header_cannot_make_us_allocate_memory(tmp_path: Path) -> None:
    """Lengths of 2^36 samples and more, and rates from 1 to 2^32 - 1 Hz, with 1 GiB of address space to spare."""
    files = {
        "a.flac": flac_that_counts(2**36 - 1),
        "b.flac": EXACTLY["unknown.flac"](),
        "c.wav": wav(0xFFFFFFFF),
        "d.rf64": rf64(b"RF64", 2**61),
        "e.wav": wav(len(PCM)).replace(RATE_HZ.to_bytes(4, "little"), (1).to_bytes(4, "little")),
        "f.wav": wav(len(PCM)).replace(RATE_HZ.to_bytes(4, "little"), (2**32 - 1).to_bytes(4, "little")),
        "g.ogg": with_granule(written("OGG", "VORBIS"), 2**62),
        "h.aiff": aiff(0, 2**31, 0),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    script = """
from asc.audio.audio_file import AudioProblem, decode, inspect
limit()
for name in sys.argv[1:]:
    try:
        print(Path(name).name, inspect(Path(name), 44_100), len(decode(Path(name), 44_100)))
    except AudioProblem as problem:
        print(Path(name).name, problem)
"""
    done = limited(script, *(str(tmp_path / name) for name in files))
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said["b.flac"] == said["c.wav"] == said["h.aiff"] == f"{SAMPLES} {SAMPLES}"
    assert said["a.flac"].startswith(("cut off", "unreadable", "too long"))
    assert said["d.rf64"].startswith("cut off")
    assert "Hz are read" in said["e.wav"] and said["f.wav"].startswith("unreadable")
    assert said["g.ogg"].startswith(("cut off", "unreadable", "too long"))


def test_files_with_names_that_are_not_utf_8_are_read(tmp_path: Path) -> None:
    for name, data in ((b"caf\xe9.wav", wav(len(PCM))), (b"caf\xe9.m4a", encoded("alac", "ipod"))):
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(data)
        assert np.abs(decode(path, RATE_HZ) - SOUND).max() <= 2**-15


def test_listening_gives_the_peaks_of_the_mean_and_of_the_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([SOUND, -SOUND], axis=1), RATE_HZ, subtype="FLOAT")
    heard = listen(path)
    assert heard.header == Header(samples=SAMPLES, sample_rate_hz=RATE_HZ)
    assert heard.peak == 0 and heard.loudest == np.abs(SOUND).max()


@pytest.mark.parametrize("times", [2, 3])
def test_mp3_files_joined_with_their_tags_are_read_to_the_end(tmp_path: Path, times: int) -> None:
    data = encoded("libmp3lame", "mp3")
    assert data.startswith(b"ID3")
    (tmp_path / "a.mp3").write_bytes(joined(data, times))
    assert abs(checked_header(tmp_path / "a.mp3").samples - times * SAMPLES) <= times * 2304


def test_an_unfinished_phone_recording_is_refused(tmp_path: Path) -> None:
    data = encoded("aac", "ipod")
    (tmp_path / "a.m4a").write_bytes(data[: data.index(b"moov") - 4])
    assert problem_of(tmp_path / "a.m4a").startswith("cut off: an MP4 without its index")


def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    assert "--follow" in problem_of(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "name", ["counts.flac", "unknown.flac", "arecord.wav", "sox.aiff", "counts.mp3", "chained.ogg"]
)
def test_an_id3_tag_before_any_container_is_ignored(tmp_path: Path, name: str) -> None:
    make = EXACTLY[name] if name in EXACTLY else ROUGHLY[name][0]
    (tmp_path / name).write_bytes(make())
    tagged = tmp_path / f"tagged {name}"
    tagged.write_bytes(b"ID3\x04\x00\x00\x00\x00\x02\x01" + bytes(257) + make())
    assert checked_header(tagged) == checked_header(tmp_path / name)
    assert np.array_equal(decode(tagged, RATE_HZ), decode(tmp_path / name, RATE_HZ))


@pytest.mark.parametrize(("start", "frame"), [(b"#!AMR\n", b"\x3c" + bytes(31)), (b"#!AMR-WB\n", b"\x44" + bytes(60))])
def test_amr_files_of_phones_are_read(tmp_path: Path, start: bytes, frame: bytes) -> None:
    """Frames are 20 ms; their content does not matter here."""
    (tmp_path / "a.amr").write_bytes(start + 100 * frame)
    header = checked_header(tmp_path / "a.amr")
    assert header.samples == 2 * header.sample_rate_hz and header.sample_rate_hz in (8_000, 16_000)


def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    names = ["alac.m4a", "flac.mka", "sox.w64", "unknown.flac"]
    for name in names:
        (tmp_path / name).write_bytes(EXACTLY[name]())
    alone = [decode(tmp_path / name, 16_000) for name in names]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: decode(tmp_path / name, 16_000), names * 8))
    assert all(np.array_equal(sound, expected) for sound, expected in zip(found, alone * 8, strict=True))


NOISE = np.random.default_rng(0).bytes(100_000)
ID3_TAG = b"ID3\x04\x00\x00\x00\x00\x02\x01" + bytes(257)


@pytest.mark.parametrize("name", ["a.mp3", "a.MP3", "a.mp2", "a.wav", "a"])
@pytest.mark.parametrize(
    "data",
    [NOISE, ID3_TAG, ID3_TAG + NOISE, b"\xff\xfb" + NOISE, b"\xff\xe3\x10\x00" + NOISE, b"PK\x03\x04" + NOISE, b"text"],
)
def test_data_that_is_not_sound_is_refused_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    assert problem_of(tmp_path / name) == "unreadable: its first bytes match no known sound format"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["", ".mp3"])
@pytest.mark.parametrize("container", ["VOC", "NIST", "IRCAM", "SVX", "PAF", "AVR", "MAT5", "PVF", "SDS"])
def test_formats_only_libsndfile_knows_are_read_whatever_their_name(
    tmp_path: Path, container: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(written(container, "PCM_16"))
    assert np.array_equal(decode(path, RATE_HZ), EXACT)


@pytest.mark.parametrize(
    "data",
    [
        wav(len(PCM)),
        wav(0xFFFFFFFF),
        rf64(b"RF64", len(PCM)),
        wave64(as_sox=False),
        au(len(PCM)),
        caf(len(PCM) + 4),
        written("IRCAM", "PCM_16"),
    ],
)
def test_a_rate_of_0_is_refused(tmp_path: Path, data: bytes) -> None:
    for form in ("<I", ">I", ">d", "<f", ">f"):
        rate = struct.pack(form, RATE_HZ)
        data = data.replace(rate, bytes(len(rate)), 1)
    (tmp_path / "a").write_bytes(data)
    assert "a rate of 0 Hz" in problem_of(tmp_path / "a")
