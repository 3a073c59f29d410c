"""The kinds of file in `sound_files.py`, written by the real tools. Tests of missing tools are skipped."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_files import EXACT, PCM, RATE_HZ, SAMPLES

from asc.audio.audio_file import checked_header, decode

RAW_FOR_SOX = "-t raw -r 44100 -e signed -b 16 -c 1 -"
RAW_FOR_FLAC = "--force-raw-format --endian=little --sign=signed --channels=1 --bps=16 --sample-rate=44100"
RAW_FOR_LAME = "-r -s 44.1 -m m --bitwidth 16 --signed --little-endian"
RAW_FOR_FFMPEG = "-v error -f s16le -ar 44100 -ac 1 -i -"


def piped(tmp_path: Path, name: str, command: str, data: bytes = PCM) -> Path:
    """Write a program's output to a file, with pipes as its input and output; {} in the command is the folder."""
    program, *arguments = command.format(tmp_path).split()
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *arguments], input=data, capture_output=True, check=True)
    path = tmp_path / name
    path.write_bytes(done.stdout)
    return path


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a.flac", f"flac -s {RAW_FOR_FLAC} - -c"),
        ("a.oga", f"flac -s --ogg {RAW_FOR_FLAC} - -c"),
        ("a.flac", f"sox {RAW_FOR_SOX} -t flac -"),
        ("a.wav", f"sox {RAW_FOR_SOX} -t wav -"),
        ("a.w64", f"sox {RAW_FOR_SOX} -t w64 -"),
        ("a.aiff", f"sox {RAW_FOR_SOX} -t aiff -"),
        ("a.au", f"sox {RAW_FOR_SOX} -t au -"),
        ("a.caf", f"sox {RAW_FOR_SOX} -t caf -"),
        ("a.wv", "wavpack -q -y --raw-pcm=44100,16,1,le - -o -"),
        *(
            (f"a.{kind}", f"ffmpeg {RAW_FOR_FFMPEG} {options} -f {kind} -")
            for kind, options in (
                ("flac", ""),
                ("wav", ""),
                ("wav", "-rf64 always"),
                ("w64", ""),
                ("aiff", ""),
                ("caf", ""),
                ("matroska", "-c:a flac"),
                ("ogg", "-c:a flac"),
            )
        ),
    ],
)
def test_lossless_files_written_to_a_pipe_are_read_exactly(tmp_path: Path, name: str, command: str) -> None:
    path = piped(tmp_path, name, command)
    assert checked_header(path).samples == SAMPLES
    assert np.array_equal(decode(path, RATE_HZ), EXACT)


@pytest.mark.parametrize(
    ("name", "command", "rate_hz"),
    [
        ("a.mp3", f"lame --quiet -t {RAW_FOR_LAME} - -", RATE_HZ),
        ("a.mp3", f"lame --quiet -t -V4 {RAW_FOR_LAME} - -", RATE_HZ),
        ("a.mp3", f"ffmpeg {RAW_FOR_FFMPEG} -f mp3 -", RATE_HZ),
        ("a.aac", f"ffmpeg {RAW_FOR_FFMPEG} -f adts -", RATE_HZ),
        ("a.webm", f"ffmpeg {RAW_FOR_FFMPEG} -f webm -", 48_000),
        ("a.wma", f"ffmpeg {RAW_FOR_FFMPEG} -c:a wmav2 -f asf -", RATE_HZ),
        ("a.ac3", f"ffmpeg {RAW_FOR_FFMPEG} -f ac3 -", RATE_HZ),
        ("a.m4a", f"ffmpeg {RAW_FOR_FFMPEG} -movflags frag_keyframe+empty_moov -f mp4 -", RATE_HZ),
    ],
)
def test_lossy_files_written_to_a_pipe_are_read(tmp_path: Path, name: str, command: str, rate_hz: int) -> None:
    path = piped(tmp_path, name, command)
    header = checked_header(path)
    assert header.sample_rate_hz == rate_hz
    assert abs(header.samples / rate_hz - SAMPLES / RATE_HZ) < 0.1 and len(decode(path, RATE_HZ)) > 0


def test_flac_decoded_to_a_pipe_is_read_despite_a_length_of_0(tmp_path: Path) -> None:
    flac = piped(tmp_path, "a.flac", f"ffmpeg {RAW_FOR_FFMPEG} -f flac -")
    path = piped(tmp_path, "a.wav", "flac -s -d - -c", flac.read_bytes())
    assert np.array_equal(decode(path, RATE_HZ), EXACT)


def test_segments_of_a_longer_recording_are_read(tmp_path: Path) -> None:
    """ffmpeg writes the length of the whole recording into the last segment, and none into the others."""
    piped(tmp_path, "none", f"ffmpeg {RAW_FOR_FFMPEG} -f segment -segment_time 0.8 {{}}/%d.flac")
    parts = [decode(tmp_path / f"{number}.flac", RATE_HZ) for number in range(3)]
    assert np.array_equal(np.concatenate(parts), EXACT)


def test_two_joined_files_are_read_to_the_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.frombuffer(PCM, "<i2"), RATE_HZ)
    wave = (tmp_path / "a.wav").read_bytes()
    ogg = piped(tmp_path, "a.ogg", "oggenc -Q - -o -", wave)
    whole = decode(ogg, RATE_HZ)
    ogg.write_bytes(ogg.read_bytes() * 2)
    assert np.array_equal(decode(ogg, RATE_HZ), np.tile(whole, 2))
    mp3 = piped(tmp_path, "a.mp3", f"lame --quiet {RAW_FOR_LAME} - {{}}/b.mp3", PCM).with_name("b.mp3")
    mp3.write_bytes(mp3.read_bytes() * 2)
    assert abs(checked_header(mp3).samples - 2 * SAMPLES) <= 2 * 2304


def test_a_killed_arecord_leaves_a_readable_file(tmp_path: Path) -> None:
    if shutil.which("arecord") is None:
        pytest.skip("arecord is not installed")
    command = ["arecord", "-q", "-D", "null", "-f", "S16_LE", "-r", "44100", "-c", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        data = process.stdout.read(44 + 2 * RATE_HZ)
        process.kill()
    (tmp_path / "a.wav").write_bytes(data)
    assert checked_header(tmp_path / "a.wav").samples == RATE_HZ
