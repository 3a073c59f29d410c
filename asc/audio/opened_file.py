"""Opening a sound file in the decoder that reads it right, after checking the lengths in its container.

libsndfile decodes PCM containers, FLAC, Vorbis, Opus and MP3 that counts its frames; FFmpeg decodes everything else
(`asc.audio.av_audio`). libsndfile sometimes guesses a length, so lengths are checked: a container's own figures are
compared with the file (`asc.audio.pcm_lengths`, `asc.audio.coded_lengths`), and a file without such figures has to be
decoded to its end to count its samples. docs/formats.md has the table.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from asc.audio.coded_lengths import check_asf, check_matroska, check_mp4, flac_samples, mp3_is_counted, ogg_links
from asc.audio.containers import START_BYTES, Container, container_of, id3_bytes
from asc.audio.part_of_file import PartOfFile
from asc.audio.pcm_lengths import (
    Payload,
    aiff_payload,
    au_payload,
    caf_payload,
    wave64_payload,
    wave_payload,
)
from asc.errors import AudioProblem

if TYPE_CHECKING:
    from asc.audio.av_audio import AvSound

_BLOCK_SAMPLES = 2**16
_OGG_OF_LIBSNDFILE = (b"\x01vorbis", b"OpusHead")
_GUESSED = ("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")
_UNKNOWN = "unreadable: its first bytes match no known sound format"
_LIBSNDFILE = {
    "Format not recognised.": _UNKNOWN,
    "Internal error : SF_INFO struct incomplete.": "unreadable: its header names a rate of 0 Hz, or no channels",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file that is being decoded, in blocks of (samples, channels); `samples` is None while it is not known."""

    sample_rate_hz: int
    samples: int | None
    blocks: Iterator[NDArray[np.float32]]


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open a file in its decoder, after checking the lengths in its container; failures become AudioProblem."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise AudioProblem("not a regular file: for a stream, use predict.py --follow")
        with path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            if size_bytes == 0:
                raise AudioProblem("empty file")
            container = _container(file, size_bytes)
            place = file.tell()
            with _decoder(path, file, container, size_bytes) as sound:
                file.seek(place)
                yield sound
    except soundfile.LibsndfileError as error:
        raise AudioProblem(
            _LIBSNDFILE.get(error.error_string, f"unreadable: {error.error_string.rstrip('.')}")
        ) from error
    except OSError as error:
        raise AudioProblem(f"unreadable: {error.strerror or error}") from error


def _container(file: BinaryIO, size_bytes: int) -> Container | None:
    """The container of the file; leaves the file at its first byte after ID3 tags."""
    place = 0
    while length := id3_bytes(file.read(10)):
        place += length
        file.seek(place)
    file.seek(place)
    found = container_of(file.read(16))
    if found is None:
        file.seek(place)
        found = container_of(file.read(START_BYTES), ended=size_bytes - place < START_BYTES)
    file.seek(place)
    return found


@contextmanager
def _decoder(path: Path, file: BinaryIO, container: Container | None, size_bytes: int) -> Iterator[Opened]:
    payloads = _payloads(file, container, size_bytes)
    if payloads is None:
        with _open_av(path) as av:
            blocks = av.blocks if av.samples is None else _counted(av.blocks, av.samples)
            yield Opened(sample_rate_hz=av.sample_rate_hz, samples=None, blocks=blocks)
    elif payloads:
        with _joined(file, payloads) as sound:
            yield sound
    elif container is None and path.suffix.lower() == ".mp3":
        with _joined(file, [Payload(start=file.tell(), stop=size_bytes, header=b"")]) as sound:  # hides its name
            yield sound
    else:
        with _libsndfile(path, container) as sound:
            yield sound


def _open_av(path: Path) -> AbstractContextManager["AvSound"]:
    """Open a file with FFmpeg. Its libraries take 4 MB of memory, so the first file that needs them loads them."""
    from asc.audio.av_audio import open_av

    return open_av(path)


def _payloads(file: BinaryIO, container: Container | None, size_bytes: int) -> list[Payload] | None:
    """The parts of the file that libsndfile must read, or an empty list for the whole file; None means FFmpeg.

    Raises:
        AudioProblem: the file is cut off.
    """
    tagged = file.tell() > 0
    match container.demuxer if container else None:
        case "wav" | "w64" | "aiff" | "au" | "caf" as kind:
            payload = _PCM[kind](file, size_bytes)
            return [] if payload is None else [payload]
        case "flac":
            return [] if flac_samples(file) is not None else None
        case "ogg":
            links = ogg_links(file, size_bytes)
            if not all(packet.startswith(_OGG_OF_LIBSNDFILE) for _, _, packet in links):
                return None
            parts = [Payload(start=start, stop=stop, header=b"") for start, stop, _ in links]
            return parts if tagged or len(parts) > 1 else []
        case "mp3":
            return [] if mp3_is_counted(file, size_bytes) else None
        case None:
            _check_not_mpeg(file)
            return []
        case other:
            if not tagged:
                _check_length(file, other, size_bytes)
            return None


def _check_not_mpeg(file: BinaryIO) -> None:
    """Refuse a file that starts like MPEG audio but has no consecutive frames (`_container`), unless it is free format.

    libsndfile would take such a file, and any unknown file named .mp3, for MPEG audio, and its decoder would print
    complaints to the terminal.
    """
    place = file.tell()
    start = file.read(3)
    file.seek(place)
    if len(start) == 3 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0 and start[2] & 0xF0:
        raise AudioProblem(_UNKNOWN)


_PCM: dict[str, Callable[[BinaryIO, int], Payload | None]] = {
    "wav": wave_payload,
    "w64": wave64_payload,
    "aiff": aiff_payload,
    "au": au_payload,
    "caf": caf_payload,
}


def _check_length(file: BinaryIO, demuxer: str, size_bytes: int) -> None:
    match demuxer:
        case "mov":
            check_mp4(file, size_bytes)
        case "matroska":
            check_matroska(file, size_bytes)
        case "asf":
            check_asf(file, size_bytes)


@contextmanager
def _libsndfile(path: Path, container: Container | None) -> Iterator[Opened]:
    """A file whose header is trusted; FFmpeg decodes it if libsndfile knows its container but not its contents."""
    try:
        sound = soundfile.SoundFile(os.fsencode(path))
        guessed = container is not None and container.demuxer != "mp3" and sound.subtype in _GUESSED
    except TypeError as error:  # soundfile raises this for a file named .raw, because it wants a rate
        raise AudioProblem("unreadable: headerless (.raw), so its rate is not known") from error
    except soundfile.LibsndfileError:
        if container is None:
            raise
        guessed = True
    if guessed:
        with _open_av(path) as av:
            yield Opened(sample_rate_hz=av.sample_rate_hz, samples=None, blocks=av.blocks)
    else:
        with sound:
            yield Opened(sample_rate_hz=sound.samplerate, samples=sound.frames, blocks=_blocks(sound))


@contextmanager
def _joined(file: BinaryIO, payloads: Sequence[Payload]) -> Iterator[Opened]:
    """Consecutive parts of a file, decoded as one sound."""
    headers = []
    for payload in payloads:
        with _part(file, payload) as sound:
            headers.append((sound.frames, sound.samplerate))
    rate_hz, done = headers[0][1], 0
    for frames, other_hz in headers:
        if other_hz != rate_hz:
            raise AudioProblem(
                f"its rate changes from {rate_hz:,} to {other_hz:,} Hz after {done / rate_hz:.1f} s: split it there"
            )
        done += frames

    def blocks() -> Iterator[NDArray[np.float32]]:
        for payload in payloads:
            with _part(file, payload) as sound:
                yield from _blocks(sound)

    yield Opened(sample_rate_hz=rate_hz, samples=done, blocks=blocks())


def _part(file: BinaryIO, payload: Payload) -> soundfile.SoundFile:
    return soundfile.SoundFile(PartOfFile(file, payload.header, payload.start, payload.stop))


def _blocks(sound: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    """Blocks that libsndfile decodes, (samples, channels), at most up to the length that it names.

    Raises:
        AudioProblem: libsndfile fails in the middle.
    """
    left = sound.frames
    while left > 0:
        try:
            block = sound.read(min(left, _BLOCK_SAMPLES), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:  # its own message is about a seek
            done = f"{sound.frames - left:,} of {sound.frames:,} samples"
            raise AudioProblem(f"unreadable: cut off or damaged after about {done}") from error
        left -= len(block)
        if len(block) == 0:
            return
        yield block


def _counted(blocks: Iterator[NDArray[np.float32]], samples: int) -> Iterator[NDArray[np.float32]]:
    """Pass blocks on, and check at the end that there were as many samples as the header says.

    Raises:
        AudioProblem: there were fewer.
    """
    done = 0
    for block in blocks:
        done += len(block)
        yield block
    if done < samples:
        raise AudioProblem(f"cut off: {done} of {samples} samples could be decoded")
