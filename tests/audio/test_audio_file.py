"""Reading audio: every common file format gives the same mono waveform; every kind of damage is reported."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

from asc.audio.audio_file import AudioProblem, audio_suffixes, decode, decode_pieces, inspect
from asc.audio.sound import resampled

RATE_HZ = 44_100


def tone(rate_hz: int, *, hz: float = 1000.0, seconds: float = 0.5, peak: float = 0.5) -> NDArray[np.float32]:
    return (peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def problem_of(path: Path) -> str:
    with pytest.raises(AudioProblem) as caught:
        inspect(path, RATE_HZ)
        decode(path, RATE_HZ)
    return str(caught.value)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(
    ("container", "subtype", "tolerance"),
    [
        ("wav", "PCM_U8", 1e-2),
        ("wav", "PCM_16", 1e-4),
        ("wav", "PCM_24", 1e-6),
        ("wav", "FLOAT", 1e-6),
        ("flac", "PCM_24", 1e-6),
        ("aiff", "PCM_16", 1e-4),
        ("ogg", "VORBIS", 5e-2),
    ],
)
def test_any_rate_channel_count_depth_and_container(
    tmp_path: Path, rate_hz: int, channels: int, container: str, subtype: str, tolerance: float
) -> None:
    path = tmp_path / f"tone.{container}"
    sound = tone(rate_hz)
    weights = np.linspace(1.0, 0.2, channels)
    soundfile.write(path, sound[:, None] * weights, rate_hz, subtype=subtype)
    samples = inspect(path, RATE_HZ)
    mono = decode(path, RATE_HZ)
    assert mono.dtype == np.float32 and mono.shape == (samples,)
    assert samples == -(-len(sound) * RATE_HZ // rate_hz)
    expected = resample_poly(sound * weights.mean(), *_up_down(rate_hz))[: len(mono)]
    inner = slice(2000, -2000)
    assert np.abs(mono[inner] - expected[inner]).max() < tolerance + (0 if rate_hz == RATE_HZ else 2e-3)


def _up_down(rate_hz: int) -> tuple[int, int]:
    divisor = int(np.gcd(rate_hz, RATE_HZ))
    return RATE_HZ // divisor, rate_hz // divisor


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 32_000, 48_000, 96_000, 22_049, 47_999])
def test_resampled_tones_keep_frequency_and_level(rate_hz: int) -> None:
    sound = resampled(tone(rate_hz, hz=997.0, seconds=1.0), rate_hz, RATE_HZ)
    assert abs(len(sound) - RATE_HZ) <= (RATE_HZ / 2000 if rate_hz in (22_049, 47_999) else 0)
    inner = sound[4410:-4410]
    assert np.sqrt(np.mean(inner**2)) == pytest.approx(0.5 / np.sqrt(2), rel=2e-3)
    spectrum = np.abs(np.fft.rfft(inner * np.hanning(len(inner)), 8 * RATE_HZ))
    assert np.argmax(spectrum) / 8 == pytest.approx(997.0, abs=0.2)


def test_resampling_removes_what_the_lower_rate_cannot_represent() -> None:
    kept = resampled(tone(44_100, hz=3000), 44_100, 16_000)[1600:-1600]
    removed = resampled(tone(44_100, hz=12_000), 44_100, 16_000)[1600:-1600]
    assert np.std(removed) < 2e-3 * np.std(kept)


def test_24_bit_is_not_truncated_to_16(tmp_path: Path) -> None:
    path = tmp_path / "quiet.wav"
    quiet = tone(RATE_HZ, peak=2**-17)
    soundfile.write(path, quiet, RATE_HZ, subtype="PCM_24")
    assert np.abs(decode(path, RATE_HZ) - quiet).max() <= 2**-23 * 1.01


def test_empty_and_unreadable_files_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(b"")
    assert problem_of(path) == "empty file"
    path.write_bytes(b"this is no audio at all, only text")
    assert problem_of(path).startswith("unreadable: ")
    soundfile.write(path, np.zeros(0), RATE_HZ)
    assert problem_of(path) == "empty: no samples"
    assert problem_of(tmp_path / "absent.wav").startswith("unreadable: ")


def test_a_short_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    soundfile.write(path, tone(8000, seconds=0.099), 8000)
    assert problem_of(path) == "too short: 0.099 s, at least 0.1 s are needed"
    soundfile.write(path, tone(8000, seconds=0.1), 8000)
    assert inspect(path, RATE_HZ) == 4410


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_reported(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "clip.wav"
    sound = tone(RATE_HZ)
    sound[77] = bad
    soundfile.write(path, sound, RATE_HZ, subtype="FLOAT")
    assert problem_of(path).startswith("not finite")


@pytest.mark.parametrize("name", ["wav", "big.wav", "rf64", "w64", "au", "aiff", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("share", [0.35, 0.8, 0.97])
def test_a_truncated_file_is_reported(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / f"clip.{name}"
    sound = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32) * 0.1
    form = None if name in ("wav", "big.wav") else name.upper()
    soundfile.write(path, sound, RATE_HZ, format=form, endian="BIG" if name == "big.wav" else "FILE")
    inspect(path, RATE_HZ)
    assert len(decode(path, RATE_HZ)) == RATE_HZ
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert problem_of(path).startswith(("cut off: ", "unreadable: "))


def test_a_truncated_wav_is_reported_with_both_lengths(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(RATE_HZ), RATE_HZ, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:-1000])
    assert problem_of(path) == "cut off: its data chunk length is 44,100 bytes, but 43,100 are there"


@pytest.mark.parametrize("more", [8, 500, -36])
def test_complete_samples_are_read_whatever_the_riff_length(tmp_path: Path, more: int) -> None:
    """Some programs write the file size as the RIFF length, which is 8 too large."""
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(RATE_HZ), RATE_HZ, subtype="PCM_16")
    whole = bytearray(path.read_bytes())
    expected = decode(path, RATE_HZ)
    struct.pack_into("<I", whole, 4, len(whole) - 8 + more)
    path.write_bytes(whole)
    assert inspect(path, RATE_HZ) == len(expected) and np.array_equal(decode(path, RATE_HZ), expected)


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"])
def test_a_wav_without_lengths_is_read(tmp_path: Path, length: bytes) -> None:
    """Without a RIFF length the data chunk's length counts; without both, the size of the file."""
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(RATE_HZ), RATE_HZ, subtype="PCM_16")
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + length + whole[8:])
    assert inspect(path, RATE_HZ) == len(tone(RATE_HZ))
    place = whole.index(b"data") + 4
    path.write_bytes(whole[:4] + length + whole[8:place] + length + whole[place + 4 :])
    assert len(decode(path, RATE_HZ)) == inspect(path, RATE_HZ) == len(tone(RATE_HZ))


def test_bytes_after_a_complete_wav_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(RATE_HZ), RATE_HZ, subtype="PCM_16")
    path.write_bytes(path.read_bytes() + b"tail")
    assert len(decode(path, RATE_HZ)) == inspect(path, RATE_HZ)


@pytest.mark.parametrize("container", ["wav", "flac", "ogg", "mp3"])
def test_pieces_are_consecutive_and_resampled_one_by_one(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"tone.{container}"
    soundfile.write(path, np.stack([tone(22_050), tone(22_050, hz=700)], axis=1), 22_050)
    samples = soundfile.info(path).frames
    lengths = [1000, 1, samples - 1001]
    pieces = [piece.sound for piece in decode_pieces(path, 22_050, lambda _: lengths)]
    assert np.array_equal(np.concatenate(pieces), decode(path, 22_050))
    there = [len(piece.sound) for piece in decode_pieces(path, RATE_HZ, lambda header: lengths)]
    assert there == [2 * length for length in lengths]


def test_a_truncated_piece_is_reported_with_the_samples_read(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(RATE_HZ), RATE_HZ)
    pieces = decode_pieces(path, RATE_HZ, lambda header: [header.samples, 10])
    assert len(next(pieces).sound) == RATE_HZ // 2
    with pytest.raises(AudioProblem, match="22050 of 22050 samples"):
        next(pieces)


def test_a_headerless_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.RAW"
    path.write_bytes(b"\x00" * 1000)
    assert problem_of(path) == "unreadable: headerless (.raw), so its rate is not known"
    assert ".wav" in audio_suffixes() and ".opus" in audio_suffixes() and ".raw" not in audio_suffixes()
