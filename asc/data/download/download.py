"""Download a published data set part by part: each part is checked, unpacked and recorded before the next starts.

Archives are kept in `DIR/archives` while they are needed. `DIR/.asc-download` records the md5 and the file sizes of
every unpacked part. A part is fetched again only if one of its files is missing or has another size.
"""

import errno
import fcntl
import functools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pooch

from asc.data.download.archive import unpack
from asc.data.download.clip_list import fetch_list
from asc.data.download.fetch import Resuming, TransferBroken, TransferRefused
from asc.data.download.packages import ClipList, Package, PackageSet
from asc.errors import InputError, disk_is_full

Progress = Callable[[str, int, int], None]
ATTEMPTS = 8  # about two minutes without progress
_FIRST_WAIT_S = 1.0
_NOTES = ".asc-download"
_AGAIN = "run the same command again, it goes on where it stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadPlan:
    """What a download will do. `parts` are not unpacked yet; `lists` are not there yet; their sizes are not published.

    `fetch_bytes` of the parts come over the network. `unpacked_bytes` is the approximate size of the parts unpacked;
    `needed_bytes` is the most disk space needed.
    """

    packages: PackageSet
    folder: Path
    keep_archives: bool
    parts: tuple[Package, ...]
    lists: tuple[ClipList, ...]
    fetch_bytes: int
    unpacked_bytes: int
    needed_bytes: int
    free_bytes: int

    @property
    def root(self) -> Path:
        """The folder of the data set."""
        return self.folder / self.packages.root

    def describe(self) -> str:
        """Describe, as text, what is fetched and the disk space it needs."""
        lists = "".join(f", and {each.file} to fetch" for each in self.lists)
        if not self.parts:
            return f"all {len(self.packages.packages)} parts are unpacked in {self.root} already{lists}"
        return (
            f"{len(self.parts)} of {len(self.packages.packages)} parts are left: "
            f"{self.fetch_bytes:,} bytes to fetch, about {self.unpacked_bytes:,} bytes unpacked{lists}\n"
            f"the disk of {self.folder} needs about {self.needed_bytes:,} bytes free and has {self.free_bytes:,}"
        )

    def as_json(self) -> dict[str, object]:
        """Return the plan as a JSON object."""
        return {
            "name": self.packages.name,
            "folder": str(self.root),
            "spec": f"{self.packages.spec}:{self.root}",
            "parts": [part.file for part in self.parts],
            "lists": [each.file for each in self.lists],
            "fetch_bytes": self.fetch_bytes,
            "unpacked_bytes": self.unpacked_bytes,
            "needed_bytes": self.needed_bytes,
            "free_bytes": self.free_bytes,
        }

    def check_room(self) -> None:
        """Check that the disk has enough space.

        Raises:
            InputError: it has too little.
        """
        if self.needed_bytes > self.free_bytes:
            raise InputError(
                f"{self.packages.name} needs about {self.needed_bytes:,} bytes free, but the disk of {self.folder} has "
                f"{self.free_bytes:,}: make room there or choose another folder with --to"
            )


def plan_download(packages: PackageSet, folder: Path, *, keep_archives: bool = False) -> DownloadPlan:
    """Plan a download from what is already in `folder`, without writing anything.

    Raises:
        InputError: `folder` is a file or cannot be read.
    """
    try:
        there = _sizes_below(folder / packages.root)
        parts = tuple(package for package in packages.packages if not _is_unpacked(folder, package, there))
        missing = {package: package.size_bytes - _fetched_bytes(folder, package) for package in parts}
        free_bytes = shutil.disk_usage(_nearest(folder)).free
    except OSError as error:
        raise _unusable(folder, error) from error
    share = sum(package.size_bytes for package in parts) / packages.size_bytes
    unpacked = round(packages.unpacked_bytes * share)
    archives = sum(missing.values()) if keep_archives else max(missing.values(), default=0)
    return DownloadPlan(
        packages=packages,
        folder=folder,
        keep_archives=keep_archives,
        parts=parts,
        lists=tuple(each for each in packages.lists if f"{packages.root}/{each.file}" not in there),
        fetch_bytes=sum(missing.values()),
        unpacked_bytes=unpacked,
        needed_bytes=unpacked + archives,
        free_bytes=free_bytes,
    )


def download(
    plan: DownloadPlan,
    *,
    url: str | None = None,
    progress: Progress | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch, check and unpack the parts of a plan, and fetch its lists.

    `url` is a mirror: the address without the archive name.
    `progress` is called with (current step, bytes done, total bytes); `wait` sleeps for some seconds between attempts.

    Raises:
        InputError: the disk has too little space, a part cannot be fetched, or a folder cannot be written. Complete
            parts are kept.
        OSError: the disk became full during the download.
    """
    plan.check_room()
    base = (url or plan.packages.url).rstrip("/")
    if not base.startswith(("http://", "https://")):
        raise InputError(f"{base} is not a web address: give one that begins with https:// or http://")
    pooch.get_logger().setLevel("WARNING")  # else it logs every file between the lines of `progress`
    tell = progress or (lambda what, done, total: None)
    try:
        with _alone(plan.folder):
            for part in plan.parts:
                archive = _fetch(plan.folder, part, f"{base}/{part.file}", tell, wait)
                _unpack(plan, part, archive, tell)
                if not plan.keep_archives:
                    archive.unlink()
            for each in plan.lists:
                tell(f"fetching {each.file}", 0, 1)
                fetch_list(each, plan.root, url=url)
                tell(f"fetching {each.file}", 1, 1)
            if not plan.keep_archives:
                _remove_if_empty(plan.folder / "archives")
    except OSError as error:
        if disk_is_full(error):
            raise
        raise _unusable(plan.folder, error) from error


def was_downloaded(folder: Path) -> bool:
    """Whether `download` was run in this folder, and so has a record of the files of each part."""
    return (folder / _NOTES).is_dir()


def _fetch(folder: Path, part: Package, url: str, tell: Progress, wait: Callable[[float], None]) -> Path:
    """Fetch an archive; give up after `ATTEMPTS` attempts in a row that received nothing."""
    archives = folder / "archives"
    partial = archives / f"{part.file}.part"
    get = Resuming(part=partial, size_bytes=part.size_bytes, progress=functools.partial(tell, f"fetching {part.file}"))
    failed, had, resumed = 0, _size(partial), partial.exists()
    while True:
        try:
            path = pooch.retrieve(url, f"md5:{part.md5}", fname=part.file, path=archives, downloader=get)
        except TransferRefused as error:
            raise InputError(f"{part.file} cannot be fetched from {url}: {error}; try later or give a --url") from error
        except TransferBroken as error:
            failed, had = (1 if _size(partial) > had else failed + 1), _size(partial)
            if failed >= ATTEMPTS:
                raise InputError(f"{part.file} could not be fetched from {url}: {error}; {_AGAIN}") from error
            wait(_FIRST_WAIT_S * 2 ** (failed - 1))
        except ValueError as error:  # from pooch: the md5 differs
            partial.unlink(missing_ok=True)
            if not resumed:
                raise InputError(
                    f"{part.file} from {url} does not have the published md5 {part.md5}, so it was deleted: "
                    "run the same command again, or give another server with --url"
                ) from error
            resumed = False  # the old partial file may have been faulty: try once more from the first byte
        else:
            partial.unlink(missing_ok=True)
            return Path(path)


def _unpack(plan: DownloadPlan, part: Package, archive: Path, tell: Progress) -> None:
    sizes = unpack(
        archive,
        plan.folder,
        workspace=plan.folder / _NOTES / "unpacking",
        progress=functools.partial(tell, f"unpacking {part.file}"),
    )
    sizes = {name: size for name, size in sizes.items() if name.startswith(f"{plan.packages.root}/")}
    note = _note(plan.folder, part)
    temporary = note.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as text:
        json.dump({"md5": part.md5, "files": sizes}, text)
        text.flush()
        os.fsync(text.fileno())
    temporary.replace(note)


def _is_unpacked(folder: Path, part: Package, there: dict[str, int]) -> bool:
    try:
        note = json.loads(_note(folder, part).read_text("utf-8"))
        return bool(note["md5"] == part.md5 and note["files"].items() <= there.items())
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return False


def _note(folder: Path, part: Package) -> Path:
    return folder / _NOTES / f"{part.file}.json"


def _fetched_bytes(folder: Path, part: Package) -> int:
    """Bytes of an archive that need not be fetched again, judging by its size."""
    whole, partial = (_size(folder / "archives" / f"{part.file}{ending}") for ending in ("", ".part"))
    return part.size_bytes if whole == part.size_bytes else partial if partial <= part.size_bytes else 0


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _sizes_below(root: Path) -> dict[str, int]:
    """Return the size in bytes of every file below a folder, by its path relative to the folder's parent."""
    if not root.exists():
        return {}
    found: dict[str, int] = {}
    folders = [(root.name, root)]
    while folders:
        name, folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append((f"{name}/{entry.name}", Path(entry.path)))
                elif entry.is_file():
                    found[f"{name}/{entry.name}"] = entry.stat().st_size
    return found


def _nearest(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder against other downloads, and delete temporary files that a killed download left."""
    for name in ("archives", _NOTES):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with (folder / _NOTES / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another download into {folder} is running: wait for it or choose another --to"
            ) from error
        for left in (folder / "archives").glob("tmp*"):
            left.unlink()
        yield


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


def _unusable(folder: Path, error: OSError) -> InputError:
    where = error.filename or folder
    return InputError(f"{where} cannot be used ({error.strerror or error}): fix that or choose another --to; {_AGAIN}")
