"""Pack a store: check every source, decode them with threads, write to a temporary folder, rename it.

Threads suffice because libsndfile, torch's convolutions and numpy's transforms release the GIL.
"""

import os
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from asc.atomic_folder import atomic_folder, flush
from asc.audio.level import Packed, quantise
from asc.audio.level_notes import Levels
from asc.data.sources import Source, SyntheticSource
from asc.data.store_index import AUDIO_FILE, INDEX_FILE, SAMPLE_BYTES, Index, read_index
from asc.errors import AudioProblem, InputError

Progress = Callable[[int, int], None]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


def pack(
    folder: Path, sources: Sequence[Source], *, sample_rate_hz: int, progress: Progress | None = None
) -> tuple[str, ...]:
    """Pack the sources into the store `folder`. `progress` is called with (clips done, total clips).

    Returns warnings about suspicious clip levels, one line for each kind. Leaves no files behind if it raises, even on
    Ctrl-C.

    Raises:
        InputError: files are unusable (all are named), the disk has too little space, or the folder is not writable.
    """
    with _one_torch_thread(), atomic_folder(folder, is_whole=lambda there: read_index(there) is not None) as temporary:
        return _fill(temporary, sources, sample_rate_hz, progress)


def _fill(
    temporary: Path, sources: Sequence[Source], sample_rate_hz: int, progress: Progress | None
) -> tuple[str, ...]:
    found = lengths(sources, sample_rate_hz)
    usable = [source for source, length in zip(sources, found, strict=True) if isinstance(length, int)]
    problems = {s.name: length for s, length in zip(sources, found, strict=True) if isinstance(length, AudioProblem)}
    _check_room(temporary, SAMPLE_BYTES * sum(length for length in found if isinstance(length, int)))
    samples: list[int] = []
    gains: list[float] = []
    levels = Levels()
    clips = _in_order(lambda source: _packed(source, sample_rate_hz), usable)
    with (temporary / AUDIO_FILE).open("wb") as file, closing(clips):
        for done, (source, clip) in enumerate(zip(usable, clips, strict=True), start=len(sources) - len(usable) + 1):
            if isinstance(clip, AudioProblem):
                problems[source.name] = clip
            else:
                packed, peak, loudest = clip
                file.write(packed.integers.tobytes())
                samples.append(len(packed.integers))
                gains.append(packed.gain)
                if not isinstance(source, SyntheticSource):  # its clips are meant to be as faint as TAU's
                    levels.add(source.name, peak, loudest)
            if progress is not None:
                progress(done, len(sources))
        flush(file)
    if problems:
        files = list(dict.fromkeys(source.name for source in sources))  # a file may be heard through several devices
        raise _all_problems([(name, problems[name]) for name in files if name in problems], len(files))
    offsets = np.cumsum([0, *samples[:-1]]).tolist()
    with (temporary / INDEX_FILE).open("w", encoding="utf-8") as text:
        text.write(Index(offsets=tuple(offsets), samples=tuple(samples), gains=tuple(gains)).to_json())
        flush(text)
    return levels.lines()


def lengths(sources: Sequence[Source], sample_rate_hz: int) -> list[int | AudioProblem]:
    """Return the length of each source in samples at `sample_rate_hz`, read from its header, or its problem."""
    with closing(_in_order(lambda source: _length(source, sample_rate_hz), sources)) as found:
        return list(found)


def _length(source: Source, sample_rate_hz: int) -> int | AudioProblem:
    try:
        return source.samples(sample_rate_hz)
    except AudioProblem as problem:
        return problem


def _packed(source: Source, sample_rate_hz: int) -> tuple[Packed, float, float] | AudioProblem:
    """Return a quantised clip, its peak after mixing down, and the peak of its channels before."""
    try:
        clip = source.heard(sample_rate_hz)
        peak = float(np.abs(clip.sound).max())
        return quantise(clip.sound, peak=peak), peak, clip.peak
    except AudioProblem as problem:
        return problem


def _in_order(function: Callable[[_In], _Out], items: Iterable[_In]) -> Generator[_Out]:
    """Map `function` over the items with threads, in order; few results wait at a time, so memory is bounded."""
    threads = os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[_Out]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Make torch use one thread per call: our threads resample in parallel, and each would start more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_room(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise InputError(
            f"the audio store needs {needed_bytes:,} bytes, but {folder.parents[1]} has {free_bytes:,} bytes free: "
            "make room there or choose another cache folder"
        )


def _all_problems(problems: Sequence[tuple[str, AudioProblem]], files: int) -> InputError:
    named = "; ".join(f"{name} ({problem})" for name, problem in problems)
    return InputError(f"{len(problems)} of {files} audio files cannot be used, repair or remove them: {named}")
