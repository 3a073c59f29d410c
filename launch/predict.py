"""Label sound files, or a stream, with a trained model.

python launch/predict.py runs/NAME/best/model.safetensors a.wav b.flac DIR
python launch/predict.py runs/NAME/best/model.safetensors DIR --csv > labels.csv
arecord -q -t raw -f S16_LE -r 44100 -c 1 | python launch/predict.py runs/NAME/best/model.safetensors --follow
curl -s http://RADIO/live.mp3 | python launch/predict.py runs/NAME/best/model.safetensors --follow
ffmpeg -v error -i URL -f s16le -ac 1 -ar 48000 - | python launch/predict.py MODEL --follow --rate 48000
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asc.console import cli
from asc.console.prediction_text import Printer, Style, require_one_style, require_one_task


@dataclass(frozen=True, kw_only=True)
class Options:
    """Print the label of each sound file and its probability, or with --follow those of a stream, every second.

    Files may have any rate, number of channels and length, and any usual format (wav, flac, ogg, mp3, m4a, webm, wma
    and more, see docs/formats.md). What is longer than 30 s is cut into windows of about 10 s, whose probabilities are
    averaged. Files that cannot be read are named at the end, each with its reason, and the exit code is 2 then; the
    others are done.

    A stream on standard input may be WAV, MP3, AAC, FLAC, Ogg or whatever else can be decoded as it comes: its first
    bytes decide. Anything else is raw PCM, as --rate, --channels and --format say. Every second a line says what the
    last 10 s of it are, until it ends.
    """

    model: Annotated[Path, tyro.conf.Positional]
    """A model file, such as runs/NAME/best/model.safetensors."""
    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, cli.option("[PATH ...]")] = ()
    """Sound files, and folders with sound files at any depth."""
    top: int = 1
    """How many labels a line names, the most probable first. CSV and JSON always have all."""
    csv: bool = False
    """Print CSV on standard output: file (or time_s), label, probability, and the probability of every label."""
    json: bool = False
    """Print one JSON object on standard output, whose "complete" is false where Ctrl-C came before the last file; with
    --follow one for each line."""
    follow: bool = False
    """Follow the stream on standard input."""
    rate: int = 44100
    """Samples per second of raw PCM."""
    channels: int = 1
    """Channels of raw PCM; they are averaged."""
    format: Literal["s16le", "s24le", "s32le", "f32le", "u8"] = "s16le"
    """Samples of raw PCM, named as ffmpeg does: signed integers (s), floats (f), little-endian."""
    window: float = 10.0
    """Seconds of the stream that a line is about, up to an hour. The cost of a second does not depend on it."""
    every: float = 1.0
    """Seconds of the stream from one line to the next, 0.1 to 60; --window is a multiple of it."""

    @property
    def style(self) -> Style:
        """How predictions are printed."""
        return "csv" if self.csv else "json" if self.json else "lines"


def main(options: Options) -> int:
    """Load the model and say what it hears, in files or in the stream."""
    import asc
    from asc.inference.files import predict_files
    from asc.inference.follow import follow
    from asc.inference.pcm import PcmFormat

    require_one_task(options.paths, follow=options.follow)
    require_one_style(csv=options.csv, json=options.json, top=options.top)
    output = cli.Output(as_json=options.json)
    if not options.follow:
        printer = Printer(output, options.style, key="file", top=options.top)
        return predict_files(asc.load(options.model), options.paths, printer)
    asked = PcmFormat(sample_rate_hz=options.rate, channels=options.channels, encoding=options.format)
    printer = Printer(output, options.style, key="time_s", top=options.top)
    stream, steps = cli.standard_input(), {"window_s": options.window, "every_s": options.every}
    return follow(asc.load(options.model), stream, asked, printer, **steps)


if __name__ == "__main__":
    cli.launch(main, Options)
