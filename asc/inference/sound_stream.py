"""Sound from a pipe: raw PCM, WAV, or any format that the file decoder supports (`asc.audio.av_audio`).

The first bytes decide the format (`asc.audio.stream_start`), and a header takes precedence over options. A stream that
is not recognised is read as raw PCM.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from asc.audio.av_audio import open_av
from asc.audio.containers import id3_bytes
from asc.audio.endless_header import START_BYTES, with_a_length
from asc.audio.sound import mono
from asc.audio.stream_start import MAGIC_BYTES, Found, found_in, other_name
from asc.errors import AudioProblem, InputError
from asc.inference.pcm import WAVES, Block, ByteStream, OtherWave, PcmFormat, PcmStream, Read, check_rate, open_wave

_ID3_BYTES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundStream:
    """An opened stream. `title` describes it; `blocks` yields its samples as they arrive."""

    title: str
    sample_rate_hz: int
    blocks: Iterator[Block]
    pcm: PcmStream | None = None

    @property
    def limit(self) -> str | None:
        """Why the stream ended, if it may have ended before the recording did."""
        return None if self.pcm is None else self.pcm.limit


@contextmanager
def open_sound(read: Read, asked: PcmFormat) -> Iterator[SoundStream]:
    """Open a stream in the format that its first bytes show, or else as raw PCM of format `asked`.

    `read(n)` returns 1 to n bytes as soon as any are available, and no bytes at the end of the stream.
    Parts of an encoded stream that cannot be decoded, such as a cut-off end, are left out.

    Raises:
        InputError: the header is damaged, or the format cannot be decoded; iterating over the blocks may raise it too.
    """
    source = ByteStream(read)
    tagged = _skip_tags(source)
    pcm = _wave(source)
    found = None if pcm is not None else _coded(source, tagged=tagged)
    if found is not None:
        with _decoded(source, found) as sound:
            yield sound
        return
    origin = "raw PCM" if pcm is None else "as its WAV header says"
    pcm = pcm or PcmStream(source=source, format=asked)
    title = f"{pcm.format} ({origin})"
    yield SoundStream(title=title, sample_rate_hz=pcm.format.sample_rate_hz, blocks=iter(pcm), pcm=pcm)


def _skip_tags(source: ByteStream) -> bool:
    """Skip ID3 tags; return whether there were any."""
    tagged = False
    while length := id3_bytes(source.peek(_ID3_BYTES)):
        source.skip(length)
        tagged = True
    return tagged


def _wave(source: ByteStream) -> PcmStream | None:
    """Open a plain PCM WAV; return None for any other stream, rewound to its start."""
    start = source.peek(12)
    if not start.startswith(WAVES) or start[8:] == b"AVI ":
        return None
    try:
        return open_wave(source)
    except OtherWave:
        source.rewind()
        return None


def _coded(source: ByteStream, *, tagged: bool) -> Found | None:
    """Return the encoded format that was found, or None for raw PCM."""
    name = other_name(source.peek(MAGIC_BYTES))
    found = None if name else found_in(source.peek)
    if name or (tagged and found is None):
        raise InputError(
            f"the stream begins like {name or 'an ID3 tag without a known sound'}, which cannot be read from a stream: "
            "send WAV or raw PCM, as in ffmpeg -v error -i FILE -f wav - | predict.py ... --follow"
        )
    return found


@contextmanager
def _decoded(source: ByteStream, found: Found) -> Iterator[SoundStream]:
    source.skip(found.skip)
    if found.container.demuxer in ("aiff", "w64"):
        source.replace(with_a_length(source.peek(START_BYTES)))
    try:
        with open_av(source, lenient=True, container=found.container) as sound:
            check_rate(sound.sample_rate_hz)
            channels = f"{sound.channels} channel{'s' * (sound.channels > 1)}"
            yield SoundStream(
                title=f"{sound.sample_rate_hz:,} Hz, {channels}, {sound.codec} (decoded from {sound.container.name})",
                sample_rate_hz=sound.sample_rate_hz,
                blocks=(Block(sound=mono(block), loudest=np.abs(block).max(axis=1)) for block in sound.blocks),
            )
    except AudioProblem as problem:
        raise InputError(f"the stream cannot be used ({problem}): send another, or WAV or raw PCM") from problem
