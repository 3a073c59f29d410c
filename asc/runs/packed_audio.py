"""Which packed audio in the cache the runs of a folder use, and how to remove the rest."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from asc.atomic_folder import locked
from asc.data.manifest import load_manifest
from asc.data.store import store_folder
from asc.data.store_index import AUDIO_FILE
from asc.errors import InputError
from asc.runs.journal import RunRecord
from asc.runs.listing import choice_of

_STORE = re.compile("[0-9a-f]{24}")
_RATE = "front_end.sample_rate_hz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The packed audio of one data set at one rate, and the names of the runs that use it."""

    folder: Path
    size_bytes: int
    used_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """All packed audio of a cache. `unknown` says for each run whose data cannot be read why that is."""

    packed: tuple[Packed, ...]
    unknown: tuple[str, ...]

    @property
    def unused(self) -> tuple[Packed, ...]:
        """What no run uses."""
        return tuple(one for one in self.packed if not one.used_by)


def usage(cache: Path, runs: Iterable[tuple[str, RunRecord]]) -> Usage:
    """What of a cache these runs use, by their data as they are now."""
    users: dict[Path, list[str]] = {}
    unknown = []
    for name, record in runs:
        rates = {trial.asked.config[_RATE] for trial in record.trials.values() if _RATE in trial.asked.config}
        try:
            manifest = load_manifest(choice_of(record))
        except InputError as error:
            unknown.append(f"{name}: its data cannot be read, so its packed audio is not recognised ({error})")
            continue
        for rate_hz in rates:
            users.setdefault(store_folder(manifest, sample_rate_hz=int(rate_hz), cache=cache), []).append(name)
    folders = sorted(path for path in cache.glob("*") if _STORE.fullmatch(path.name) and (path / AUDIO_FILE).is_file())
    packed = (
        Packed(
            folder=folder,
            size_bytes=sum(file.stat().st_size for file in folder.iterdir()),
            used_by=tuple(users.get(folder, ())),
        )
        for folder in folders
    )
    return Usage(packed=tuple(packed), unknown=tuple(unknown))


def remove(packed: Packed) -> None:
    """Delete packed audio; the next run that needs it packs it again.

    Raises:
        InputError: the folder cannot be deleted.
    """
    lock = packed.folder.with_name(f"{packed.folder.name}.lock")
    try:
        with locked(lock):
            shutil.rmtree(packed.folder)
        lock.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{packed.folder} cannot be deleted ({error.strerror}): delete it by hand") from error
