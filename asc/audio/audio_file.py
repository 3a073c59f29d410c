"""Reading one sound file: its checks, and its samples as mono at the wanted rate. The one decoder of all of asc.

PCM containers, FLAC, Vorbis, Opus and MP3 that counts its frames are decoded by libsndfile, all else by FFmpeg
(`asc.audio.av_audio`). libsndfile's own length is believed only where it is no guess: what a container says is compared
with the file (`asc.audio.pcm_lengths`, `asc.audio.coded_lengths`), and where nothing can be known the file is decoded
to its end to count its samples. Nothing is allocated by a length that a header names. docs/formats.md has the table.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from asc.audio.av_audio import open_av
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
from asc.audio.torchaudio_compat import resample
from asc.errors import AudioProblem

MIN_CLIP_S = 0.1
MOST_CLIP_SAMPLES = 2**28  # what is decoded as a whole: 1.7 h at 44.1 kHz, 1 GiB as float32
RATES_HZ = (100, 10_000_000)
MAX_RATIO_TERM = 2_000
_BLOCK_SAMPLES = 2**16
_OGG_OF_LIBSNDFILE = (b"\x01vorbis", b"OpusHead")
_GUESSED = ("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")
_UNKNOWN = "unreadable: its first bytes are those of no known sound file"
_LIBSNDFILE = {
    "Format not recognised.": _UNKNOWN,
    "Internal error : SF_INFO struct incomplete.": "unreadable: its header names a rate of 0 Hz, or no channels",
}
_AV_SUFFIXES = ".aac .adts .m4a .m4b .m4r .mp4 .mov .qt .3gp .3g2 .amr .awb .webm .mka .mkv .wma .asf .wv .ac3 .eac3"
_MORE_SUFFIXES = (
    ".aif .aifc .oga .opus .snd .spx .ogx .bwf .bw64 .wave .mp1 .mp2 .mpga .tta .ape .mpc .flv .avi .mts .m2ts"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """How long a sound file is: samples (of each channel) and their rate."""

    samples: int
    sample_rate_hz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A file that is being decoded, in blocks of (samples, channels); `samples` is None where nobody knows yet."""

    sample_rate_hz: int
    samples: int | None
    blocks: Iterator[NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of a file: `sound`, (samples,), is the mean of its channels; `peak` is the highest of any of them."""

    sound: NDArray[np.float32]
    peak: float


def inspect(path: Path, sample_rate_hz: int, *, min_s: float = MIN_CLIP_S) -> int:
    """Check a file that is to be decoded as a whole; the samples that it will have at `sample_rate_hz`.

    Raises:
        AudioProblem: empty, unreadable, cut off, shorter than `min_s` or too long to be held in memory.
    """
    header = checked_header(path, min_s=min_s)
    ratio = resampling_ratio(header.sample_rate_hz, sample_rate_hz)
    wanted = -(-header.samples * ratio.numerator // ratio.denominator)
    if max(header.samples, wanted) > MOST_CLIP_SAMPLES:
        raise _too_long(header.samples, header.sample_rate_hz)
    return wanted


def checked_header(path: Path, *, min_s: float = MIN_CLIP_S) -> Header:
    """How long a file is, by its header checked against its size; only one without a length is decoded, to count it.

    Raises:
        AudioProblem: empty, unreadable, cut off, shorter than `min_s`, or of a rate that no sound has.
    """
    with _opened(path) as sound:
        rate_hz, (low, high) = sound.sample_rate_hz, RATES_HZ
        samples = sum(map(len, sound.blocks)) if sound.samples is None else sound.samples
    if not low <= rate_hz <= high:
        raise AudioProblem(f"unreadable: its header says {rate_hz:,} Hz, but {low:,} to {high:,} Hz are read")
    if samples == 0:
        raise AudioProblem("empty: no samples")
    if samples < min_s * rate_hz:
        raise AudioProblem(f"too short: {samples / rate_hz:.3f} s, at least {min_s} s are needed")
    return Header(samples=samples, sample_rate_hz=rate_hz)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A file that was decoded to its end: the peak of the mean of its channels, and the highest of any channel's."""

    header: Header
    peak: float
    loudest: float


def listen(path: Path, *, min_s: float = MIN_CLIP_S) -> Heard:
    """Decode a file to its end and keep nothing of it.

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
        AudioProblem: unreadable, fewer samples than the header says, or samples that are no finite numbers.
    """
    return decode_whole(path, sample_rate_hz).sound


def decode_whole(path: Path, sample_rate_hz: int) -> Piece:
    """As `decode`, with the peak of the channels."""
    with _opened(path) as sound:
        mixed = _Mixed(sound.blocks)
        whole = mixed.take(MOST_CLIP_SAMPLES + 1 if sound.samples is None else sound.samples)
        if len(whole) > MOST_CLIP_SAMPLES:
            raise _too_long(len(whole), sound.sample_rate_hz)
        if sound.samples is not None and len(whole) < sound.samples:
            raise AudioProblem(f"cut off: {len(whole)} of {sound.samples} samples could be decoded")
        return Piece(sound=resampled(whole, sound.sample_rate_hz, sample_rate_hz), peak=mixed.peak)


def decode_pieces(path: Path, sample_rate_hz: int, cut: Callable[[Header], Iterable[int]]) -> Iterator[Piece]:
    """The consecutive pieces of a file, each as `decode` gives a file; only one of them is in memory at a time.

    `cut` names their lengths, in the file's own samples, that add up to all that there are.

    Raises:
        AudioProblem: as `decode`, at the piece where it is found.
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
    """Blocks of (samples, channels), of which pieces of any length are taken as mono."""

    def __init__(self, blocks: Iterator[NDArray[np.float32]]) -> None:
        self._blocks, self._rest, self._rest_peak = blocks, np.zeros(0, np.float32), 0.0
        self.peak = 0.0  # of any channel, in the blocks that the last piece is from

    def take(self, samples: int) -> NDArray[np.float32]:
        """The next samples, (samples,); fewer at the end."""
        taken, count, self.peak = [self._rest], len(self._rest), self._rest_peak
        while count < samples and (block := next(self._blocks, None)) is not None:
            taken.append(mono(block))
            count += len(block)
            self._rest_peak = float(np.abs(block).max(initial=0))
            self.peak = max(self.peak, self._rest_peak)
        whole = np.concatenate(taken)
        self._rest = whole[samples:].copy()
        return whole[:samples]


def mono(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean over channels of (samples, channels), as (samples,).

    Raises:
        AudioProblem: samples that are no finite numbers.
    """
    if not np.isfinite(sound).all():
        raise AudioProblem("not finite: it has NaN or infinite samples")
    mean: NDArray[np.float32] = sound.mean(axis=1, dtype=np.float64).astype(np.float32)
    return mean


def resampled(sound: NDArray[np.float32], rate_hz: int, wanted_hz: int) -> NDArray[np.float32]:
    """(samples,) at `rate_hz` to (samples,) at `wanted_hz`."""
    ratio = resampling_ratio(rate_hz, wanted_hz)
    if ratio == 1:
        return sound
    with torch.inference_mode():
        wave: NDArray[np.float32] = resample(torch.from_numpy(sound), ratio.denominator, ratio.numerator).numpy()
    return wave


def resampling_ratio(rate_hz: int, wanted_hz: int) -> Fraction:
    """Wanted rate by given rate, exact for all usual rates.

    A ratio of large numbers (22,049 Hz to 44,100 Hz) is taken within 0.05 %, less than a hundredth of a semitone: its
    exact filter bank would take gigabytes.
    """
    return Fraction(wanted_hz, rate_hz).limit_denominator(MAX_RATIO_TERM)


def audio_suffixes() -> frozenset[str]:
    """File name endings of sound that is read here (headerless RAW has no rate, so it is left out).

    They only choose among the files of a folder; what a file is, its first bytes say.
    """
    names = {f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW"}
    return frozenset(names.union(_AV_SUFFIXES.split(), _MORE_SUFFIXES.split()))


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    """A file in its decoder, and what its container's own lengths say; what fails is an AudioProblem."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise AudioProblem("no file on a disk: send a stream to predict.py --follow")
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
    """What the file is; it then stands at its first byte, after tags."""
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
        with open_av(path) as av:
            blocks = av.blocks if av.samples is None else _counted(av.blocks, av.samples)
            yield _Opened(sample_rate_hz=av.sample_rate_hz, samples=None, blocks=blocks)
    elif payloads:
        with _joined(file, payloads) as sound:
            yield sound
    elif container is None and path.suffix.lower() == ".mp3":
        with _joined(file, [Payload(start=file.tell(), stop=size_bytes, header=b"")]) as sound:  # without its name
            yield sound
    else:
        with _libsndfile(path, container) as sound:
            yield sound


def _payloads(file: BinaryIO, container: Container | None, size_bytes: int) -> list[Payload] | None:
    """What libsndfile is to read: parts of the file, or all of it for an empty list. None is for FFmpeg.

    Raises:
        AudioProblem: cut off.
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
    """Refuse what only looks like MPEG audio: no frames follow one another in it (`_container`), free format aside.

    libsndfile would take it, and any file of an unknown kind that is called .mp3, for MPEG audio, whose decoder prints
    to the terminal what it thinks of that.
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
    """A file whose header is believed; FFmpeg's, if libsndfile knows the container but not what is in it."""
    try:
        sound = soundfile.SoundFile(os.fsencode(path))
        guessed = container is not None and container.demuxer != "mp3" and sound.subtype in _GUESSED
    except TypeError as error:  # so soundfile asks for the rate of a file that is called .raw
        raise AudioProblem("unreadable: headerless (.raw), so its rate is not known") from error
    except soundfile.LibsndfileError:
        if container is None:
            raise
        guessed = True
    if guessed:
        with open_av(path) as av:
            yield _Opened(sample_rate_hz=av.sample_rate_hz, samples=None, blocks=av.blocks)
    else:
        with sound:
            yield _Opened(sample_rate_hz=sound.samplerate, samples=sound.frames, blocks=_blocks(sound))


@contextmanager
def _joined(file: BinaryIO, payloads: Sequence[Payload]) -> Iterator[_Opened]:
    """Parts of a file that follow one another."""
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
    """What libsndfile decodes, up to the length that it names.

    Raises:
        AudioProblem: it cannot go on.
    """
    left = sound.frames
    while left > 0:
        try:
            block = sound.read(min(left, _BLOCK_SAMPLES), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:  # its words are of a seek: it looks for what comes after the end
            done = f"{sound.frames - left:,} of {sound.frames:,} samples"
            raise AudioProblem(f"unreadable: cut off or damaged after some {done}") from error
        left -= len(block)
        if len(block) == 0:
            return
        yield block


def _counted(blocks: Iterator[NDArray[np.float32]], samples: int) -> Iterator[NDArray[np.float32]]:
    """Blocks of a file whose header counts its samples.

    Raises:
        AudioProblem: there are fewer.
    """
    done = 0
    for block in blocks:
        done += len(block)
        yield block
    if done < samples:
        raise AudioProblem(f"cut off: {done} of {samples} samples could be decoded")


def _too_long(samples: int, rate_hz: int) -> AudioProblem:
    return AudioProblem(f"too long for one clip ({samples / rate_hz:,.0f} s at {rate_hz:,} Hz): cut it into clips")
