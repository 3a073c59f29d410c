"""Unpacking a zip that came over a network: all of it is checked before the first byte is written.

Refused are members that would lie outside the folder or could overwrite each other, links, and sizes that the disk
does not have or that are lies (https://www.bamsoftware.com/hacks/zipbomb/). The files are written under another name
and moved into place when the whole archive was read, so a killed unpacking is never taken for a whole one.
"""

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from asc.errors import InputError

_READ_BYTES = 1 << 20
_DRIVE = re.compile(r"[A-Za-z]:")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NAME_BYTES = 255


def unpack(
    archive: Path, folder: Path, *, workspace: Path, progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Unpack `archive` into `folder`, over files that are there; the size in bytes of each file, by its path.

    `workspace` is a folder on the same disk that is made and cleared away; `progress` is told (bytes done, in all).

    Raises:
        InputError: not a whole zip, a member that is refused, or no room; nothing was written then.
        OSError: the disk cannot be written to.
    """
    shutil.rmtree(workspace, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = checked_members(opened, archive)
            _check_room(archive, sum(member.file_size for member in members), folder)
            workspace.mkdir(parents=True)
            _extract(opened, members, workspace, progress)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{archive} is not a whole zip archive ({error}): delete it and fetch it again") from error
    else:
        for member in members:
            target = folder / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            (workspace / member.filename).replace(target)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    return {member.filename: member.file_size for member in members}


def checked_members(opened: zipfile.ZipFile, archive: Path) -> list[zipfile.ZipInfo]:
    """The files of an archive, after a look at every member.

    Raises:
        InputError: one is refused; the sentence names it.
    """
    files = []
    for member in opened.infolist():
        reason = _refused(member)
        if reason is not None:
            raise InputError(f"{archive} has the member {member.orig_filename!r}, {reason}: {_ADVICE}")
        if not member.is_dir():
            files.append(member)
    paths = [PurePosixPath(member.filename.casefold()) for member in files]
    if len(set(paths)) < len(paths) or {*paths} & {parent for path in paths for parent in path.parents}:
        raise InputError(f"{archive} has members that would overwrite each other: {_ADVICE}")
    if sum(member.compress_size for member in files) > archive.stat().st_size:
        raise InputError(f"{archive} has members that share their data, as zip bombs do: {_ADVICE}")
    return files


_ADVICE = "nothing of it was unpacked, delete it and fetch it from the publisher"


def _refused(member: zipfile.ZipInfo) -> str | None:
    """Why a member is not unpacked. The name as it was written counts, not as zipfile cleaned it."""
    name = member.orig_filename
    parts = name.removesuffix("/").split("/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.startswith("/") or "\\" in name or any(_DRIVE.match(part) for part in parts) or ".." in parts:
        return "which would leave the folder"
    if not name.isprintable() or any(part in ("", ".") or len(part.encode()) > _NAME_BYTES for part in parts):
        return "which is no usable file name"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "which is a link or a device"
    if member.flag_bits & 1:
        return "which is encrypted"
    return None if member.compress_type in _METHODS else "which is packed in an unknown way"


def _check_room(archive: Path, needed_bytes: int, folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise InputError(
            f"{archive} takes {needed_bytes:,} bytes unpacked, but {folder} has {free_bytes:,} bytes free: "
            "make room there and run the same command again"
        )


def _extract(
    opened: zipfile.ZipFile,
    members: list[zipfile.ZipInfo],
    workspace: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write every member; `zipfile` stops at the size that it declares and compares its checksum."""
    total, done = sum(member.file_size for member in members), 0
    for member in members:
        target = workspace / member.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as source, target.open("xb") as file:
            while block := source.read(_READ_BYTES):
                file.write(block)
                done += len(block)
                if progress is not None:
                    progress(done, total)
            written = file.tell()
        if written != member.file_size:
            raise zipfile.BadZipFile(f"{member.filename} has {written:,} bytes, not {member.file_size:,}")
