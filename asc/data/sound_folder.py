"""List the sound files below a folder, and all other files, so that skipped files can be reported."""

import os
from dataclasses import dataclass
from pathlib import Path

from asc.audio.audio_file import audio_suffixes


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Contents of a folder, sorted: sound files, skipped files and links, and unreadable folders with the reason."""

    files: tuple[Path, ...]
    passed_over: tuple[Path, ...]
    shut: tuple[tuple[Path, str], ...]


def sound_below(folder: Path) -> Found:
    """List a folder and its subfolders.

    Skipped are names without a sound file suffix, names that begin with a dot, everything that is not a regular file
    (a pipe, a broken link), and links to folders.
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
