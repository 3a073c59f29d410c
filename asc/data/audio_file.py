"""Reading one audio file: its checks, and its samples as mono at the wanted rate. Decoding is libsndfile's.

libsndfile reads a cut-off wav or ogg without an error, so the container's own lengths are compared with the file's:
RIFF and RF64 (https://www.itu.int/rec/R-REC-BS.2088), AIFF, AU, Wave64, and the pages of Ogg (https://www.rfc-editor.org/rfc/rfc3533).
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from asc.errors import AudioProblem
from asc.torchaudio_compat import resample

MIN_CLIP_S = 0.1
STREAMED = (0, 0xFFFFFFFF)  # lengths that a writer leaves when it cannot go back to the start of the file
MAX_OGG_PAGE_BYTES = 65_307
MAX_RATIO_TERM = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a sound file says of itself: samples (of each channel) and their rate."""

    samples: int
    sample_rate_hz: int


def inspect(path: Path, sample_rate_hz: int, *, min_s: float = MIN_CLIP_S) -> int:
    """Check a file without decoding it; the samples that it will have at `sample_rate_hz`.

    Raises:
        AudioProblem: empty, unreadable, cut off or shorter than `min_s`.
    """
    header = checked_header(path, min_s=min_s)
    ratio = resampling_ratio(header.sample_rate_hz, sample_rate_hz)
    return -(-header.samples * ratio.numerator // ratio.denominator)


def checked_header(path: Path, *, min_s: float = MIN_CLIP_S) -> Header:
    """The header of a file, checked against its size; nothing is decoded.

    Raises:
        AudioProblem: empty, unreadable, cut off or shorter than `min_s`.
    """
    try:
        if path.stat().st_size == 0:
            raise AudioProblem("empty file")
        info = soundfile.info(str(path))
        with path.open("rb") as file:
            _check_length(file, path.stat().st_size, info)
    except soundfile.LibsndfileError as error:
        raise AudioProblem(f"unreadable: {error.error_string.rstrip('.')}") from error
    except TypeError as error:  # so soundfile asks for the rate of a file that is called .raw
        raise AudioProblem("unreadable: headerless (.raw), so its rate is not known") from error
    except OSError as error:
        raise AudioProblem(f"unreadable: {error.strerror or error}") from error
    if info.frames == 0:
        raise AudioProblem("empty: no samples")
    if info.frames < min_s * info.samplerate:
        raise AudioProblem(f"too short: {info.frames / info.samplerate:.3f} s, at least {min_s} s are needed")
    return Header(samples=int(info.frames), sample_rate_hz=int(info.samplerate))


def decode(path: Path, sample_rate_hz: int) -> NDArray[np.float32]:
    """The samples of a file as mono (the mean of its channels), (samples,) at `sample_rate_hz`.

    Raises:
        AudioProblem: unreadable, fewer samples than the header says, or samples that are no finite numbers.
    """
    (whole,) = decode_pieces(path, sample_rate_hz, lambda header: [header.samples])
    return whole


def decode_pieces(
    path: Path, sample_rate_hz: int, cut: Callable[[Header], Sequence[int]]
) -> Iterator[NDArray[np.float32]]:
    """The consecutive pieces of a file, each as `decode` gives a file; only one of them is in memory at a time.

    `cut` names their lengths, in the file's own samples, that add up to all that its header says.

    Raises:
        AudioProblem: as `decode`, at the piece where it is found.
    """
    try:
        with soundfile.SoundFile(str(path)) as file:
            header = Header(samples=file.frames, sample_rate_hz=file.samplerate)
            done = 0
            for samples in cut(header):
                sound = file.read(samples, dtype="float32", always_2d=True)
                done += len(sound)
                if len(sound) < samples:
                    raise AudioProblem(f"cut off: {done} of {header.samples} samples could be decoded")
                yield resampled(mono(sound), header.sample_rate_hz, sample_rate_hz)
    except soundfile.LibsndfileError as error:
        raise AudioProblem(f"unreadable: {error.error_string.rstrip('.')}") from error


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
    """File name endings of the containers that libsndfile reads (headerless RAW has no rate, so it is left out)."""
    names = {f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW"}
    return frozenset(names | {".aif", ".aifc", ".oga", ".opus", ".snd"})


def _check_length(file: BinaryIO, size_bytes: int, info: "soundfile._SoundFileInfo") -> None:
    magic = file.read(4)
    match magic:
        case b"RIFF" | b"RF64" | b"BW64":
            _check_riff(file, "<", size_bytes, info)
        case b"RIFX":
            _check_riff(file, ">", size_bytes, info)
        case b"FORM":
            _compare(struct.unpack(">I", _exactly(file, 4))[0] + 8, size_bytes, "FORM")
        case b".snd":
            offset, data_bytes = struct.unpack(">II", _exactly(file, 8))
            if data_bytes not in STREAMED:
                _compare(offset + data_bytes, size_bytes, "AU")
        case b"riff":
            _compare(struct.unpack("<12xQ", _exactly(file, 20))[0], size_bytes, "Wave64")
        case b"OggS":
            _check_ogg(file, size_bytes)


def _check_riff(file: BinaryIO, order: str, size_bytes: int, info: "soundfile._SoundFileInfo") -> None:
    (riff_bytes,) = struct.unpack(f"{order}I", _exactly(file, 4))
    _exactly(file, 4)
    long_data_bytes = None
    while len(head := file.read(8)) == 8:
        name, chunk_bytes = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        if name == b"ds64":
            riff_bytes, long_data_bytes = struct.unpack(f"{order}QQ", _exactly(file, 16))
            chunk_bytes -= 16
        if name == b"data":
            there = size_bytes - file.tell()
            if chunk_bytes in STREAMED and long_data_bytes is None:
                _check_streamed(there, info)
            else:
                _compare(chunk_bytes if long_data_bytes is None else long_data_bytes, there, "data chunk")
            break
        file.seek(chunk_bytes + chunk_bytes % 2, 1)
    if riff_bytes not in STREAMED:
        _compare(riff_bytes + 8, size_bytes, "RIFF")


def _compare(said_bytes: int, there_bytes: int, what: str) -> None:
    if said_bytes > there_bytes + 1:  # some writers count a padding byte that they do not write
        raise AudioProblem(f"cut off: its {what} length is {said_bytes:,} bytes, but {there_bytes:,} are there")


def _check_streamed(there_bytes: int, info: "soundfile._SoundFileInfo") -> None:
    """A streamed wav does not say how long it is: libsndfile must find as many frames as whole frames are there."""
    frame_bytes = info.channels * _SAMPLE_BYTES.get(info.subtype, 0)
    if frame_bytes and info.frames < there_bytes // frame_bytes:
        raise AudioProblem(f"no length in its header, and only {info.frames} samples of it could be read")


def _check_ogg(file: BinaryIO, size_bytes: int) -> None:
    """The last page must be whole and have the end-of-stream flag (RFC 3533, section 6)."""
    file.seek(max(0, size_bytes - MAX_OGG_PAGE_BYTES))
    tail = file.read()
    start = tail.rfind(b"OggS\x00")
    page = tail[start:] if start >= 0 else b""
    if len(page) < 27 or len(page) < 27 + page[26]:
        raise AudioProblem("cut off: its last Ogg page is not whole")
    page_bytes = 27 + page[26] + sum(page[27 : 27 + page[26]])
    if len(page) < page_bytes:
        raise AudioProblem("cut off: its last Ogg page is not whole")
    if not page[5] & 4:
        raise AudioProblem("cut off: its last Ogg page does not end the stream")


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise AudioProblem("cut off: its header is not whole")
    return data


_SAMPLE_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
