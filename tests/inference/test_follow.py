"""Follow a stream: bytes as they arrive, and every way a stream can end."""

import contextlib
import io
import os
import struct
import threading
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import pytest
import soundfile
from patience import PATIENCE_S

import asc
import asc.inference.pcm
from asc.console import cli
from asc.console.prediction_text import Printer
from asc.errors import InputError
from asc.inference.follow import follow
from asc.inference.pcm import PcmFormat
from asc.inference.predict import Model
from asc.results import Prediction

ASKED = PcmFormat(sample_rate_hz=8000, channels=1, encoding="s16le")


class Dripping(io.BytesIO):
    """Returns at most `most` bytes at a time, and raises `KeyboardInterrupt` after `interrupt_at` bytes."""

    def __init__(self, data: bytes, *, most: int = 2**16, interrupt_at: int | None = None) -> None:
        super().__init__(data)
        self._most, self._interrupt_at = most, interrupt_at

    def read1(self, size: int | None = -1, /) -> bytes:
        if self._interrupt_at is not None and self.tell() >= self._interrupt_at:
            raise KeyboardInterrupt
        return super().read1(min(size or 0, self._most))


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return asc.load(tiny_model)


@pytest.fixture(scope="module")
def wave(tiny_csv: Path) -> bytes:
    """A WAV file of 16,321 samples, just over two seconds."""
    sound = soundfile.read(tiny_csv.parent / "down_slow-00-0.wav", dtype="int16")[0]
    file = io.BytesIO()
    soundfile.write(file, np.resize(sound, 16_321), 8000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def followed(model: Model, stream: BinaryIO, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    printer = Printer(cli.Output(as_json=False), "csv", key="time_s")
    code = follow(model, stream, ASKED, printer, window_s=1.0, every_s=0.5)
    out, err = capsys.readouterr()
    return code, out, err


def test_header_and_read_size_do_not_change_the_predictions(
    model: Model, wave: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = followed(model, Dripping(wave), capsys)
    assert code == 0 and out.count("\n") == 5
    assert err.splitlines() == [
        "listening: 8,000 Hz, 1 channel, s16le (as its WAV header says), the latest 1 s every 0.5 s",
        "end of the stream after 2.0 s: 4 lines",
    ]
    raw = wave[wave.index(b"data") + 8 :]
    for stream in (Dripping(wave, most=1), Dripping(raw), Dripping(raw, most=7), Dripping(raw + b"\x01")):
        assert followed(model, stream, capsys)[1] == out


def test_ctrl_c_stops_cleanly(model: Model, wave: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = followed(model, Dripping(wave, most=1000, interrupt_at=20_000), capsys)
    assert code == cli.INTERRUPTED and out.count("\n") == 3 and err.splitlines()[-1] == "stopped after 1.2 s: 2 lines"


@pytest.fixture(scope="module")
def coded() -> bytes:
    """Five seconds of MP3 without a tag, as sent through a pipe."""
    time_s = np.arange(5 * 44_100) / 44_100
    file = io.BytesIO()
    with av.open(file, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as output:
        stream = output.add_stream("libmp3lame", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(0.3 * np.sin(3000 * time_s)[None].astype("f4"), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44_100, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def test_a_coded_stream_gives_the_predictions_of_its_decoded_samples(
    model: Model, coded: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = followed(model, Dripping(coded, most=700), capsys)
    assert code == 0 and out.count("\n") == 11
    assert err.splitlines() == [
        "listening: 44,100 Hz, 1 channel, mp3 (decoded from MP3), the latest 1 s every 0.5 s",
        "end of the stream after 5.0 s: 10 lines",
    ]
    with av.open(io.BytesIO(coded)) as file:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    pcm, asked = sound.astype("<f4").tobytes(), PcmFormat(sample_rate_hz=44_100, channels=1, encoding="f32le")
    printer = Printer(cli.Output(as_json=False), "csv", key="time_s")
    assert follow(model, Dripping(pcm), asked, printer, window_s=1.0, every_s=0.5) == 0
    assert capsys.readouterr().out == out


def test_a_coded_stream_gives_lines_before_it_ends(model: Model, coded: bytes) -> None:
    """Write half of the stream to a real pipe, and the rest only after the first line has been received."""
    lines, received, sent = threading.Event(), [], []

    class Heard(Printer):
        def __call__(self, key: float, prediction: Prediction) -> None:  # type: ignore[override]
            received.append(key)
            lines.set()

    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb", buffering=0) as pipe:
            pipe.write(coded[: len(coded) // 2])
            sent.append(lines.wait(timeout=PATIENCE_S))
            pipe.write(coded[len(coded) // 2 :])

    thread = threading.Thread(target=write)
    thread.start()
    printer = Heard(cli.Output(as_json=False), "csv", key="time_s")
    with os.fdopen(reader, "rb") as stream, contextlib.suppress(InputError):  # this printer counts no lines
        follow(model, stream, ASKED, printer, window_s=1.0, every_s=0.5)
    thread.join()
    assert sent == [True] and received == [0.5 * number for number in range(1, 11)]


def test_ctrl_c_stops_a_coded_stream(model: Model, coded: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = followed(model, Dripping(coded, most=700, interrupt_at=len(coded) // 2), capsys)
    assert code == cli.INTERRUPTED and 4 <= out.count("\n") <= 6
    assert err.splitlines()[-1].startswith("stopped after 2.")


def test_a_read_error_in_a_coded_stream_gives_one_sentence(
    model: Model, coded: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(Dripping):
        def read1(self, size: int | None = -1, /) -> bytes:
            if self.tell() > len(coded) // 2:
                raise OSError(5, "Input/output error")
            return super().read1(size)

    with pytest.raises(InputError, match="standard input cannot be read .Input/output error"):
        followed(model, Broken(coded, most=700), capsys)


def test_a_truncated_coded_stream_ends_normally(model: Model, coded: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = followed(model, Dripping(coded[: len(coded) // 2 + 100]), capsys)
    assert code == 0 and out.count("\n") in (5, 6) and err.splitlines()[-1].startswith("end of the stream after 2.")


def test_a_wav_that_ends_at_its_size_limit_says_so(
    model: Model, wave: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lower the limit to the length of this stream, because 2 GiB would take too long."""
    start = wave.index(b"data") + 8
    unknown = wave[: start - 4] + struct.pack("<I", 2**31) + wave[start:]
    monkeypatch.setattr(asc.inference.pcm, "_ABOUT_BYTES", 1)
    assert "ended at" not in followed(model, Dripping(unknown), capsys)[2]
    monkeypatch.setattr(asc.inference.pcm, "_LIMITS_BYTES", (len(wave) - start,))
    assert "ended at" in followed(model, Dripping(unknown), capsys)[2].splitlines()[-1]


def test_an_unreadable_stream_gives_one_sentence(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    with open(os.open(os.devnull, os.O_WRONLY), "rb") as stream:
        with pytest.raises(InputError, match="standard input cannot be read"):
            followed(model, stream, capsys)


def test_a_terminal_or_a_too_short_stream_gives_one_sentence(
    model: Model, wave: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    for stream, part in ((Terminal(), "pipe some into it"), (io.BytesIO(wave[:4000]), "0.5 s are needed for one line")):
        with pytest.raises(InputError, match=part):
            followed(model, stream, capsys)


def test_channels_that_cancel_are_noted_once(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    noise = (3000 * np.random.default_rng(0).standard_normal(24_000)).astype("<i2")
    asked = PcmFormat(sample_rate_hz=8000, channels=2, encoding="s16le")
    data = np.stack([noise, np.where(np.arange(24_000) < 8000, noise, -noise)], axis=1).tobytes()
    printer = Printer(cli.Output(as_json=False), "csv", key="time_s")
    assert follow(model, Dripping(data), asked, printer, window_s=1.0, every_s=0.5) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note")]
    assert len(notes) == 1 and notes[0].startswith("note: 2 s: its channels cancel each other")
