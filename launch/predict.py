"""Label audio files, or a stream, with a trained model.

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
    """Print the label of each audio file with its probability, or with --follow those of a stream, every second.

    Files may have any sample rate, number of channels and length, and any common format (wav, flac, ogg, mp3, m4a,
    webm, wma and more, see docs/formats.md). Files longer than 30 s are cut into windows of about 10 s, whose
    probabilities are averaged. Files that cannot be read are skipped and listed at the end, each with its reason; the
    exit code is then 2.

    A stream on standard input may be WAV, MP3, AAC, FLAC, Ogg or anything else that can be decoded as it arrives; its
    first bytes decide. Anything else is read as raw PCM, as --rate, --channels and --format say. Until the stream ends,
    a line is printed every second with the label of its last 10 s.
    """

    model: Annotated[Path, tyro.conf.Positional]
    """A model file, or the NAME of a run in runs/ (its best network), or one of its trials, such as NAME/t005."""
    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, cli.option("[PATH ...]")] = ()
    """Audio files, and folders that are searched for audio files at any depth."""
    top: int = 1
    """Number of labels in a line, the most probable first. CSV and JSON always have all."""
    csv: bool = False
    """Print CSV on standard output: file (or time_s), label, probability, and the probability of every label."""
    quiet: bool = False
    """Print no progress: only results, and what went wrong."""
    json: bool = False
    """Print one JSON object on standard output, whose "complete" is false if Ctrl-C came before the last file; with
    the option --follow, print one object per line."""
    follow: bool = False
    """Follow the stream on standard input."""
    rate: int = 44100
    """Sample rate of raw PCM, in Hz."""
    channels: int = 1
    """Number of channels of raw PCM; they are averaged."""
    format: Literal["s16le", "s24le", "s32le", "f32le", "u8"] = "s16le"
    """Sample format of raw PCM, named as in ffmpeg: signed (s) or unsigned (u) integers, floats (f), little-endian."""
    window: float = 10.0
    """Seconds of the stream that a line covers, up to an hour. It does not affect the computation per second."""
    every: float = 1.0
    """Seconds of the stream between lines, 0.1 to 60; --window must be a multiple of it."""

    @property
    def style(self) -> Style:
        """How predictions are printed."""
        return "csv" if self.csv else "json" if self.json else "lines"


def main(options: Options) -> int:
    """Load the model and label the files or the stream."""
    import asc
    from asc.inference.files import predict_files
    from asc.inference.follow import follow
    from asc.inference.pcm import PcmFormat
    from asc.runs import named

    require_one_task(options.paths, follow=options.follow)
    require_one_style(csv=options.csv, json=options.json, top=options.top)
    output, model = cli.Output(as_json=options.json, quiet=options.quiet), named.model_file(options.model)
    if not options.follow:
        printer = Printer(output, options.style, key="file", top=options.top)
        return predict_files(asc.load(model), options.paths, printer)
    asked = PcmFormat(sample_rate_hz=options.rate, channels=options.channels, encoding=options.format)
    printer = Printer(output, options.style, key="time_s", top=options.top)
    stream, steps = cli.standard_input(), {"window_s": options.window, "every_s": options.every}
    return follow(asc.load(model), stream, asked, printer, **steps)


if __name__ == "__main__":
    cli.launch(main, Options)
