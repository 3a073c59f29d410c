"""Follow a stream of sound, such as the output of `arecord`, and print a line for every step."""

from functools import partial
from typing import BinaryIO

from asc.console import cli
from asc.console.prediction_text import Printer
from asc.errors import InputError
from asc.inference.pcm import PcmFormat
from asc.inference.predict import Model
from asc.inference.sound_stream import SoundStream, open_sound
from asc.inference.stream import Follower


def follow(
    model: Model, stream: BinaryIO, asked: PcmFormat, printer: Printer, *, window_s: float, every_s: float
) -> int:
    """Print predictions for a stream until it ends; without a known header it is read as raw PCM of format `asked`.

    Returns the exit code: 130 after Ctrl-C, else 0.

    Raises:
        InputError: the stream is a terminal, cannot be read, ends before the first prediction, or has an unusable
            header or samples.
    """
    if stream.isatty():
        raise InputError(
            "--follow reads sound from standard input: pipe some into it, as in arecord ... | predict.py ... --follow"
        )
    with open_sound(partial(_read, stream), asked) as sound:
        follower = Follower(model, sound.sample_rate_hz, window_s=window_s, every_s=every_s)
        printer.output.say(f"listening: {sound.title}, the latest {window_s:g} s every {every_s:g} s")
        return _follow(sound, follower, printer, every_s=every_s)


def _follow(sound: SoundStream, follower: Follower, printer: Printer, *, every_s: float) -> int:
    output = printer.output
    try:
        for block in sound.blocks:
            for heard in follower.feed(block.sound, block.loudest):
                printer(heard.time_s, heard.prediction)
    except KeyboardInterrupt:
        output.say(f"stopped after {follower.heard_s:.1f} s: {_lines(printer)}")
        return cli.INTERRUPTED
    if printer.count == 0:
        raise InputError(f"the stream ended after {follower.heard_s:.2f} s: {every_s:g} s are needed for one line")
    why = f"; {sound.limit}" if sound.limit else ""
    output.say(f"end of the stream after {follower.heard_s:.1f} s: {_lines(printer)}{why}")
    return cli.DONE


def _read(stream: BinaryIO, count: int) -> bytes:
    try:
        return stream.read1(count)  # type: ignore[attr-defined, no-any-return]
    except OSError as error:  # for example, it is open for writing only
        raise InputError(f"standard input cannot be read ({error.strerror}): send a stream of sound") from error


def _lines(printer: Printer) -> str:
    return f"{printer.count} line{'s' * (printer.count != 1)}"
