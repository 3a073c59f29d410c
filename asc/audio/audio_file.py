"""Reading one sound file: its checks, and its samples as mono at the wanted rate. All of asc reads files here.

`asc.audio.opened_file` finds the decoder. No memory is allocated on the word of a header: a file whose container does
not say its length is decoded to its end to count its samples.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from asc.audio.opened_file import opened
from asc.audio.sound import RATES_HZ, Header, Piece, mono, resampled, resampling_ratio
from asc.errors import AudioProblem

MIN_CLIP_S = 0.1
MOST_CLIP_SAMPLES = 2**28  # for a clip decoded as a whole: 1.7 h at 44.1 kHz, 1 GiB as float32
_AV_SUFFIXES = ".aac .adts .m4a .m4b .m4r .mp4 .mov .qt .3gp .3g2 .amr .awb .webm .mka .mkv .wma .asf .wv .ac3 .eac3"
_MORE_SUFFIXES = (
    ".aif .aifc .oga .opus .snd .spx .ogx .bwf .bw64 .wave .mp1 .mp2 .mpga .tta .ape .mpc .flv .avi .mts .m2ts"
)


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
    with opened(path) as sound:
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
    with opened(path) as sound:
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
    with opened(path) as sound:
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
    with opened(path) as sound:
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


def _too_long(samples: int, rate_hz: int) -> AudioProblem:
    return AudioProblem(f"too long for one clip ({samples / rate_hz:,.0f} s at {rate_hz:,} Hz): cut it into clips")
