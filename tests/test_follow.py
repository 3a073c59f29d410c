"""Following a stream: bytes as they come, and every way that a stream can end."""

import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile

import asc
from asc import cli
from asc.errors import InputError
from asc.follow import follow
from asc.pcm import PcmFormat
from asc.predict import Model
from asc.prediction_text import Printer

ASKED = PcmFormat(sample_rate_hz=8000, channels=1, encoding="s16le")


class Dripping(io.BytesIO):
    """Gives a few bytes at a time, and after `interrupt_at` of them Ctrl-C."""

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
    """Two seconds and a bit of WAV."""
    sound = soundfile.read(tiny_csv.parent / "down_slow-00-0.wav", dtype="int16")[0]
    file = io.BytesIO()
    soundfile.write(file, np.resize(sound, 16_321), 8000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def followed(model: Model, stream: BinaryIO, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    printer = Printer(cli.Output(as_json=False), "csv", key="time_s")
    code = follow(model, stream, ASKED, printer, window_s=1.0, every_s=0.5)
    out, err = capsys.readouterr()
    return code, out, err


def test_a_header_or_none_and_bytes_in_any_number(
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


def test_ctrl_c_ends_it_in_order(model: Model, wave: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = followed(model, Dripping(wave, most=1000, interrupt_at=20_000), capsys)
    assert code == cli.INTERRUPTED and out.count("\n") == 3 and err.splitlines()[-1] == "stopped after 1.2 s: 2 lines"


def test_what_cannot_be_read_is_one_sentence(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    with open(os.open(os.devnull, os.O_WRONLY), "rb") as stream:
        with pytest.raises(InputError, match="standard input cannot be read"):
            followed(model, stream, capsys)


def test_what_is_no_stream_is_one_sentence(model: Model, wave: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    for stream, part in ((Terminal(), "send it some"), (io.BytesIO(wave[:4000]), "0.5 s are needed for one line")):
        with pytest.raises(InputError, match=part):
            followed(model, stream, capsys)
