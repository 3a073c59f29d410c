"""Reading one sound file: its checks, and its samples as mono at the wanted rate. All of asc decodes files here.

libsndfile decodes PCM containers, FLAC, Vorbis, Opus and MP3 that counts its frames; FFmpeg decodes everything else
(`asc.audio.av_audio`). libsndfile sometimes guesses a length, so lengths are checked: a container's own figures are
compared with the file (`asc.audio.pcm_lengths`, `asc.audio.coded_lengths`), and a file without such figures is decoded
to its end to count its samples. No memory is allocated on the word of a header. docs/formats.md has the table.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from asc.audio.sound import RATES_HZ, Header, Piece, mono, resampled, resampling_ratio
from asc.errors import AudioProblem

if TYPE_CHECKING:
    from asc.audio.av_audio import AvSound

MIN_CLIP_S = 0.1
MOST_CLIP_SAMPLES = 2**28  # for a clip decoded as a whole: 1.7 h at 44.1 kHz, 1 GiB as float32
_BLOCK_SAMPLES = 2**16
_OGG_OF_LIBSNDFILE = (b"\x01vorbis", b"OpusHead")
_GUESSED = ("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")
_UNKNOWN = "unreadable: its first bytes match no known sound format"
_LIBSNDFILE = {
    "Format not recognised.": _UNKNOWN,
    "Internal error : SF_INFO struct incomplete.": "unreadable: its header names a rate of 0 Hz, or no channels",
}
_AV_SUFFIXES = ".aac .adts .m4a .m4b .m4r .mp4 .mov .qt .3gp .3g2 .amr .awb .webm .mka .mkv .wma .asf .wv .ac3 .eac3"
_MORE_SUFFIXES = (
    ".aif .aifc .oga .opus .snd .spx .ogx .bwf .bw64 .wave .mp1 .mp2 .mpga .tta .ape .mpc .flv .avi .mts .m2ts"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A file that is being decoded, in blocks of (samples, channels); `samples` is None while it is not known."""

    sample_rate_hz: int
    samples: int | None
    blocks: Iterator[NDArray[np.float32]]


def inspect(path: Path, sample_rate_hz: int, *, min_s: float = MIN_CLIP_S) -> int:
    """Check a file that will be decoded as a whole; returns its number of samples at `sample_rate_hz`.

    Raises:
        AudioProblem: the file is empty, unreadable, cut off, shorter than `min_s` or too long for memory.
    """
    header = checked_header(path, min_s=min_s)
    ratio = resampling_ratio(header.sample_rate_hz, sample_rate_hz)
    wanted = -(-header.samples * ratio.numerator // ratio.denominator)
    if max(header.samples, wanted) > MOST_CLIP_SAMPLES:
        raise _too_long(header.samples, header.sample_rate_hz)
    return wanted


def checked_header(path: Path, *, min_s: float = MIN_CLIP_S) -> Header:
    """The length of a file by its header, checked against the file's size; a file without a length is decoded to count.

    Raises:
        AudioProblem: the file is empty, unreadable, cut off, shorter than `min_s`, or its rate is outside `RATES_HZ`.
    """
    with _opened(path) as sound:
        rate_hz, (low, high) = sound.sample_rate_hz, RATES_HZ
        samples = sum(map(len, sound.blocks)) if sound.samples is None else sound.samples
    if not low <= rate_hz <= high:
        raise AudioProblem(f"unreadable: its header says {rate_hz:,} Hz, but only {low:,} to {high:,} Hz are read")
    if samples == 0:
        raise AudioProblem("empty: no samples")
    if samples < min_s * rate_hz:
        raise AudioProblem(f"too short: {samples / rate_hz:.3f} s, at least {min_s} s are needed")
    return Header(samples=samples, sample_rate_hz=rate_hz)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A file that was decoded to its end: the peak of its mono mix, and the `loudest` peak of any channel."""

    header: Header
    peak: float
    loudest: float


def listen(path: Path, *, min_s: float = MIN_CLIP_S) -> Heard:
    """Decode a file to its end for its length and peaks, without keeping samples.

    Raises:
        AudioProblem: as `checked_header` and `decode`.
    """
    header, done, peak, loudest = checked_header(path, min_s=min_s), 0, 0.0, 0.0
    with _opened(path) as sound:
        for block in sound.blocks:
            done += len(block)
            peak = max(peak, float(np.abs(mono(block)).max()))
            loudest = max(loudest, float(np.abs(block).max()))
    if done < header.samples:
        raise AudioProblem(f"cut off: {done} of {header.samples} samples could be decoded")
    return Heard(header=header, peak=peak, loudest=loudest)


def decode(path: Path, sample_rate_hz: int) -> NDArray[np.float32]:
    """The samples of a file as mono (the mean of its channels), (samples,) at `sample_rate_hz`.

    Raises:
        AudioProblem: the file is unreadable, shorter than its header says, or has samples that are not finite.
    """
    return decode_whole(path, sample_rate_hz).sound


def decode_whole(path: Path, sample_rate_hz: int) -> Piece:
    """Like `decode`, but also returns the highest peak of any channel."""
    with _opened(path) as sound:
        mixed = _Mixed(sound.blocks)
        whole = mixed.take(MOST_CLIP_SAMPLES + 1 if sound.samples is None else sound.samples)
        if len(whole) > MOST_CLIP_SAMPLES:
            raise _too_long(len(whole), sound.sample_rate_hz)
        if sound.samples is not None and len(whole) < sound.samples:
            raise AudioProblem(f"cut off: {len(whole)} of {sound.samples} samples could be decoded")
        return Piece(sound=resampled(whole, sound.sample_rate_hz, sample_rate_hz), peak=mixed.peak)


def decode_pieces(path: Path, sample_rate_hz: int, cut: Callable[[Header], Iterable[int]]) -> Iterator[Piece]:
    """Consecutive pieces of a file, each mono at `sample_rate_hz`; only one piece is in memory at a time.

    `cut` returns the lengths of the pieces in samples of the file; they must add up to the whole file.

    Raises:
        AudioProblem: as `decode`, when the piece with the problem is reached.
    """
    header = checked_header(path, min_s=0)
    with _opened(path) as sound:
        mixed, done = _Mixed(sound.blocks), 0
        for samples in cut(header):
            piece = mixed.take(samples)
            done += len(piece)
            if len(piece) < samples:
                raise AudioProblem(f"cut off: {done} of {header.samples} samples could be decoded")
            yield Piece(sound=resampled(piece, header.sample_rate_hz, sample_rate_hz), peak=mixed.peak)


class _Mixed:
    """Mixes blocks of (samples, channels) to mono, and returns pieces of any length."""

    def __init__(self, blocks: Iterator[NDArray[np.float32]]) -> None:
        self._blocks, self._rest, self._rest_peak = blocks, np.zeros(0, np.float32), 0.0
        self.peak = 0.0  # of any channel, in the blocks that the last piece was taken from

    def take(self, samples: int) -> NDArray[np.float32]:
        """The next samples, (samples,); fewer than asked for at the end."""
        taken, count, self.peak = [self._rest], len(self._rest), self._rest_peak
        while count < samples and (block := next(self._blocks, None)) is not None:
            taken.append(mono(block))
            count += len(block)
            self._rest_peak = float(np.abs(block).max(initial=0))
            self.peak = max(self.peak, self._rest_peak)
        whole = np.concatenate(taken)
        self._rest = whole[samples:].copy()
        return whole[:samples]


def audio_suffixes() -> frozenset[str]:
    """File name endings of the formats that are read here; headerless RAW is left out, because it has no rate.

    They are only used to select files in a folder. The format of a file is decided by its first bytes.
    """
    names = {f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW"}
    return frozenset(names.union(_AV_SUFFIXES.split(), _MORE_SUFFIXES.split()))


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
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
def _decoder(path: Path, file: BinaryIO, container: Container | None, size_bytes: int) -> Iterator[_Opened]:
    payloads = _payloads(file, container, size_bytes)
    if payloads is None:
        with _open_av(path) as av:
            blocks = av.blocks if av.samples is None else _counted(av.blocks, av.samples)
            yield _Opened(sample_rate_hz=av.sample_rate_hz, samples=None, blocks=blocks)
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
def _libsndfile(path: Path, container: Container | None) -> Iterator[_Opened]:
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
            yield _Opened(sample_rate_hz=av.sample_rate_hz, samples=None, blocks=av.blocks)
    else:
        with sound:
            yield _Opened(sample_rate_hz=sound.samplerate, samples=sound.frames, blocks=_blocks(sound))


@contextmanager
def _joined(file: BinaryIO, payloads: Sequence[Payload]) -> Iterator[_Opened]:
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

    yield _Opened(sample_rate_hz=rate_hz, samples=done, blocks=blocks())


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


def _too_long(samples: int, rate_hz: int) -> AudioProblem:
    return AudioProblem(f"too long for one clip ({samples / rate_hz:,.0f} s at {rate_hz:,} Hz): cut it into clips")
