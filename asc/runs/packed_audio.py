"""Which packed audio in the cache the runs of a folder use, and how to remove the rest."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from asc.atomic_folder import locked
from asc.config.space import Choice
from asc.config.space_file import parse_space
from asc.data.manifest import load_manifest
from asc.data.store import store_folder
from asc.data.store_index import AUDIO_FILE
from asc.errors import InputError
from asc.runs.listing import choice_of
from asc.runs.record import RunRecord

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
        try:
            manifest, rates = load_manifest(choice_of(record)), _rates_hz(record)
        except InputError as error:
            unknown.append(f"{name}: its data cannot be read, so its packed audio is not recognised ({error})")
            continue
        for rate_hz in rates:
            users.setdefault(store_folder(manifest, sample_rate_hz=rate_hz, cache=cache), []).append(name)
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


def _rates_hz(record: RunRecord) -> set[int]:
    """The sample rates that the trials of a run have, or may still get: those of its reference and its space."""
    configs = [trial.asked.config for trial in record.trials.values()]
    if record.started.reference is not None:
        configs.append(record.started.reference)
    rates = {config[_RATE] for config in configs if _RATE in config}
    if record.started.space is not None:
        name, _, text = record.started.space.partition("\n")
        for one in parse_space(text, source=f"the journal of {record.started.name}", name=name).each():
            drawn = one.parameters.get(_RATE)
            rates |= set(drawn.options) if isinstance(drawn, Choice) else set()  # type: ignore[arg-type]
    return {int(rate) for rate in rates}


def remove(packed: Packed) -> None:
    """Delete packed audio; the next run that needs it packs it again.

    Raises:
        InputError: the folder cannot be deleted.
    """
    try:
        with locked(packed.folder.with_name(f"{packed.folder.name}.lock")):
            shutil.rmtree(packed.folder)
    except OSError as error:
        raise InputError(f"{packed.folder} cannot be deleted ({error.strerror}): delete it by hand") from error
