"""A folder that appears complete or not at all: filled under another name, flushed to disk, then renamed.

Several processes may fill the same folder at once: the first to finish wins, and the others use its folder.
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
    """A temporary folder to fill: it becomes `folder` when the block ends, or is deleted if the block raises.

    An existing `folder` that is incomplete (`is_whole`) is replaced. Leftovers of killed processes are deleted.

    Raises:
        InputError: the disk is full, or the folder may not be written to.
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
    """A temporary folder that is deleted when the block ends. Leftovers of killed processes are deleted too.

    Raises:
        OSError: the disk is full, or `parent` may not be written to.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _clear_stale(parent)
    with _workspace(parent) as workspace:
        yield workspace


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that only one process at a time can hold, on one machine or on a shared file system.

    The lock file is deleted when the lock is released. If a process dies, its lock is released.

    Raises:
        InputError: the disk is full, or the folder may not be written to.
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
    """Open and lock the file at `path`; starts over if its last owner deleted the file meanwhile."""
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
    """Flush an open file, and wait until its contents are on the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _workspace(parent: Path) -> Iterator[Path]:
    """A temporary folder with a lock held during the block, so that other processes see that it is in use."""
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
        with suppress(OSError):  # in use (its lock is held), or deleted by another process meanwhile
            if time.time() - workspace.stat().st_mtime < STALE_S:
                continue  # it may be new and not locked yet
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
            return  # another process finished first
        with suppress(FileNotFoundError):
            folder.rename(workspace / f"broken-{uuid.uuid4().hex}")


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
