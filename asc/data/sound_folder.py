"""The sound files below a folder, and all else that lies there: what is passed over is to be named."""

import os
from dataclasses import dataclass
from pathlib import Path

from asc.audio.audio_file import audio_suffixes


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What lies below a folder, sorted: sound by its name's ending, other files and links, folders that are shut."""

    files: tuple[Path, ...]
    passed_over: tuple[Path, ...]
    shut: tuple[tuple[Path, str], ...]


def sound_below(folder: Path) -> Found:
    """Look through a folder at any depth.

    Passed over are names with another ending than those of sound files, names that begin with a dot, what is no file
    (a pipe, a broken link), and links to folders, which are not followed.
    """
    suffixes, shut = audio_suffixes(), list[tuple[Path, str]]()
    found: dict[bool, list[Path]] = {True: [], False: []}

    def note(error: OSError) -> None:
        shut.append((Path(error.filename), error.strerror or "it cannot be listed"))

    for where, folders, names in os.walk(folder, onerror=note):
        links = [name for name in folders if os.path.islink(os.path.join(where, name))]
        for path in (Path(where, name) for name in (*names, *links)):
            is_sound = path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
            found[is_sound].append(path)
    return Found(files=tuple(sorted(found[True])), passed_over=tuple(sorted(found[False])), shut=tuple(shut))
