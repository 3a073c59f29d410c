"""Unpack a zip from an untrusted source: every member is checked before the first byte is written.

Refused are members outside the folder, members that overwrite each other, links, archives too large for the disk, and
zip bombs (https://www.bamsoftware.com/hacks/zipbomb/). Files are written to a temporary folder and moved into place
after the whole archive was read, so an interrupted unpacking is never taken for a complete one.
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
    """Unpack `archive` into `folder`, replacing existing files; return the size in bytes of each file by path.

    `workspace` is a temporary folder on the same disk, created and deleted here. `progress` is called with (bytes done,
    total bytes).

    Raises:
        InputError: the zip is incomplete, a member is refused, or the disk has too little space; no file was changed.
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
    """Check every member of an archive and return those that are files.

    Raises:
        InputError: a member is refused; the message names it.
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


_ADVICE = "nothing was unpacked, delete the archive and fetch it from the publisher"


def _refused(member: zipfile.ZipInfo) -> str | None:
    """Return why a member is refused, or None. Checks its original name, not the one that zipfile cleaned."""
    name = member.orig_filename
    parts = name.removesuffix("/").split("/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.startswith("/") or "\\" in name or any(_DRIVE.match(part) for part in parts) or ".." in parts:
        return "which would leave the folder"
    if not name.isprintable() or any(part in ("", ".") or len(part.encode()) > _NAME_BYTES for part in parts):
        return "which is not a usable file name"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "which is a link or a device"
    if member.flag_bits & 1:
        return "which is encrypted"
    return None if member.compress_type in _METHODS else "which uses an unknown compression method"


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
    """Write every member. `zipfile` stops at the declared size and verifies the checksum."""
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
