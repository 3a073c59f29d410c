"""A folder that appears whole or not at all: filled under another name, flushed to the disk, then renamed.

Several processes may fill the same folder at once; the first to finish wins and the others find it there.
"""

import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from asc.errors import InputError, disk_is_full

TEMPORARY = ".packing-"
STALE_S = 60.0
THERE = (errno.ENOTEMPTY, errno.EEXIST)


@contextmanager
def atomic_folder(folder: Path, *, is_whole: Callable[[Path], bool]) -> Iterator[Path]:
    """A temporary folder to fill; when the block ends without an exception it becomes `folder`, else it goes.

    A `folder` that is there but not whole is replaced. What killed processes left behind is cleared away.

    Raises:
        InputError: no room on the disk, or no right to write.
    """
    parent = folder.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _clear_stale(parent)
        with _workspace(parent) as workspace:
            (workspace / "new").mkdir()
            yield workspace / "new"
            _flush_folder(workspace / "new")
            _install(workspace, folder, is_whole)
    except OSError as error:
        raise _unwritable(parent, error) from error


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder that goes when the block ends; what killed processes left behind is cleared away.

    Raises:
        OSError: no room on the disk, or no right to write.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _clear_stale(parent)
    with _workspace(parent) as workspace:
        yield workspace


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that one process on a machine (or of those that share a file system) can hold at a time.

    The file goes with the lock, so that none is left behind; a process that dies gives it back.

    Raises:
        InputError: no room on the disk, or no right to write.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _owned(path)
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _owned(path: Path) -> IO[bytes]:
    """The locked file of this name; one that its last owner removed meanwhile is let go for a new one."""
    while True:
        lock = path.open("ab")
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        except FileNotFoundError:
            pass
        lock.close()


def _unwritable(folder: Path, error: OSError) -> InputError:
    reason = "there is no room left" if disk_is_full(error) else error.strerror or str(error)
    return InputError(f"{folder} cannot be written to ({reason}): make room there or choose another cache folder")


def flush(file: IO[bytes] | IO[str]) -> None:
    """Wait until what was written to an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _workspace(parent: Path) -> Iterator[Path]:
    """A temporary folder with a lock that lives as long as this process, so that others see whether it is in use."""
    workspace = parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    workspace.mkdir()
    try:
        with (workspace / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield workspace
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _clear_stale(parent: Path) -> None:
    for workspace in parent.glob(f"{TEMPORARY}*"):
        with suppress(OSError):  # in use (its lock is held), or cleared by another process meanwhile
            if time.time() - workspace.stat().st_mtime < STALE_S:
                continue  # it may be between its making and its lock
            with (workspace / "lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(workspace)


def _install(workspace: Path, folder: Path, is_whole: Callable[[Path], bool]) -> None:
    while True:
        try:
            (workspace / "new").rename(folder)
        except OSError as error:
            if error.errno not in THERE:
                raise
        else:
            _flush_folder(folder.parent)
            return
        if is_whole(folder):
            return  # another process was quicker
        with suppress(FileNotFoundError):
            folder.rename(workspace / f"broken-{uuid.uuid4().hex}")


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
