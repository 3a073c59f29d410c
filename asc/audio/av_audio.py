"""Compressed sound, decoded block by block by FFmpeg (PyAV, https://pyav.org), from a file or from a pipe.

The first bytes decide which demuxer FFmpeg must use (`asc.audio.av_source`). FFmpeg gets bytes, never a name, so it
probes nothing and cannot open other files, playlists or addresses. It drops the samples that the container says to drop
(the priming samples of AAC, Opus or LAME's MP3), and no others. The rate is that of the first decoded block, because
the header of AAC may name half of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from asc.audio.av_source import PIPE_BYTES, Readable, SeekableSource, Source, container_of_pipe, source_of_file
from asc.audio.containers import Container
from asc.errors import AudioProblem

_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")
_CHECKED_CODECS = ("flac", "wavpack")  # FFmpeg checks their checksums only on request
_TRACKS_ON_THE_WAY = ("mpegts", "mpeg", "flv")
_REFUSED = "a sound file that names other files or addresses is not opened"


@dataclass(frozen=True, slots=True, kw_only=True)
class AvSound:
    """A decoded stream of sound. `blocks` are (samples, channels), full scale 1, each given as soon as it is decoded.

    `samples` is the exact number of samples in the file's header, or None if it has none (a duration is not exact). A
    later block may have a different number of channels, but not a different rate.
    """

    container: Container
    codec: str
    sample_rate_hz: int
    channels: int
    samples: int | None
    blocks: Iterator[NDArray[np.float32]]


@contextmanager
def open_av(source: Path | Readable, *, lenient: bool = False, container: Container | None = None) -> Iterator[AvSound]:
    """Open a sound file, or a pipe whose next bytes are sound, and decode its first block.

    A pipe is read until its container is known (`container_of_pipe`); give `container` if you know it already.
    Iterating over the blocks can raise too. A packet that cannot be decoded raises, unless `lenient`, which skips it as
    a broadcast receiver would. At the very start or end of a broadcast format, where a stream may be joined or broken
    off, such a packet is always dropped.

    Raises:
        AudioProblem: the source is not sound, is damaged, has an unknown codec or no sound track, or changes its rate.
        OSError: the file or pipe cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as file, _opened(*source_of_file(file), lenient) as sound:
            yield sound
    else:
        pipe = Source(source)
        with _opened(pipe, container or container_of_pipe(pipe), lenient) as sound:
            yield sound


def _no_other_file(*_: object) -> NoReturn:
    raise PermissionError(_REFUSED)


def _probing(source: Source, container: Container) -> dict[str, str]:
    """Options for how far FFmpeg looks ahead before the first block: in a pipe, whose sound is live, only a few frames.

    By default FFmpeg would wait for up to five seconds. Transport streams and similar formats name their tracks later
    in the stream, so the number of bytes is not limited for them.
    """
    if isinstance(source, SeekableSource):
        return {}
    few = {} if container.demuxer in _TRACKS_ON_THE_WAY else {"probesize": str(PIPE_BYTES)}
    return {"analyzeduration": "1", **few}


@contextmanager
def _opened(source: Source, container: Container, lenient: bool) -> Iterator[AvSound]:
    try:
        opened = av.open(
            source,
            "r",
            format=container.demuxer,
            container_options={"protocol_whitelist": "none", **_probing(source, container)},
            metadata_errors="replace",
            io_open=_no_other_file,
        )
    except av.error.FFmpegError as error:
        source.check()
        raise _problem(source, container, error) from error
    with opened:
        source.check()
        stream = opened.streams.best("audio")
        if stream is None:
            raise AudioProblem(f"no sound: this {container.name} has no sound track")
        if stream.codec_context is None:
            raise AudioProblem(f"unreadable: the sound in this {container.name} is encrypted or of an unknown codec")
        stream.codec_context.thread_count = 1
        codec = stream.codec_context.name
        if codec == "alac":  # its last packet already has its true length; the container's trimming would cut it again
            stream.codec_context.options = {"flags2": "+skip_manual"}
        elif codec in _CHECKED_CODECS and not lenient:
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        frames = _frames(opened, stream, source, container, lenient)
        first = next(frames, None)
        if first is None:
            raise AudioProblem(f"empty: no samples could be decoded from this {container.name}")
        rate_hz = int(first.sample_rate)
        seconds = None if stream.duration is None or stream.time_base is None else stream.duration * stream.time_base
        yield AvSound(
            container=container,
            codec=stream.codec_context.codec.canonical_name,
            sample_rate_hz=rate_hz,
            channels=len(first.layout.channels),
            samples=round(seconds * rate_hz) if seconds is not None and container.counts else None,
            blocks=_blocks(chain([first], frames), rate_hz),
        )


def _frames(opened: Any, stream: Any, source: Source, container: Container, lenient: bool) -> Iterator[Any]:
    """The decoded frames. Damage raises, except at either end of a broadcast and in a packet that is cut off."""
    some, damage = False, None
    for packet in _packets(opened, stream, source, container, lenient):
        try:
            frames = packet.decode()
        except av.error.MemoryError as error:
            raise MemoryError(f"FFmpeg has no memory to decode this {container.name}") from error
        except av.error.FFmpegError as error:
            forgiven = lenient or packet.is_corrupt or (container.broadcast and not some)
            if not forgiven and not bytes(packet)[:8].startswith(_TAGS):  # tags between joined MP3 files
                damage = error
            continue
        if frames and damage is not None:
            break
        some = some or bool(frames)
        yield from frames
    else:
        if container.broadcast:
            damage = None
    if damage is not None:
        raise AudioProblem(f"damaged: a part of this {container.name} cannot be decoded") from damage


def _packets(opened: Any, stream: Any, source: Source, container: Container, lenient: bool) -> Iterator[Any]:
    packets, packet = opened.demux(stream), None
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            source.check()
            if lenient and packet is not None:  # a tag may follow the sound
                return
            raise _problem(source, container, error) from error
        source.check()
        if packet is None:
            return
        yield packet


def _blocks(frames: Iterator[Any], rate_hz: int) -> Iterator[NDArray[np.float32]]:
    done = 0
    for frame in frames:
        if frame.sample_rate != rate_hz:
            raise AudioProblem(
                f"its rate changes from {rate_hz:,} to {frame.sample_rate:,} Hz after {done / rate_hz:.1f} s: split it "
                "there"
            )
        block = _floats(frame)
        done += len(block)
        yield block


def _floats(frame: Any) -> NDArray[np.float32]:
    """The samples of a frame as (samples, channels), full scale 1."""
    channels, values = len(frame.layout.channels), frame.to_ndarray()
    sound = values.T if frame.format.is_planar else values.reshape(-1, channels)
    scale = _FULL_SCALE.get(frame.format.packed.name)
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused later
        if scale is None:
            return np.ascontiguousarray(sound, np.float32)
        silence = 128 if frame.format.packed.name == "u8" else 0
        floats: NDArray[np.float32] = (sound.astype(np.float64) - silence) / scale
        return floats.astype(np.float32)


def _problem(source: Source, container: Container, error: av.error.FFmpegError) -> AudioProblem:
    if isinstance(error, av.error.PatchWelcomeError) and container.demuxer == "ogg":
        return AudioProblem("its rate or codec changes in the middle: split it there")
    if container.index_at_end and not isinstance(source, SeekableSource):
        return AudioProblem(
            f"unreadable from a pipe: this {container.name} is damaged or has its index at the end, so give the file"
        )
    reason = (error.strerror or str(error)).lower()
    return AudioProblem(f"unreadable: damaged or cut off (FFmpeg on this {container.name}: {reason})")
