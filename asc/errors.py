"""The errors that launch scripts turn into a sentence and exit code 2: wrong input, and what a machine does.

A machine runs out of disk, of memory, of open files; takes a folder away or the right to write to it. Python says so by
`OSError` and `MemoryError`, torch and onnxruntime by errors of their own, which are told by their words.
"""

import errno
from collections.abc import Iterable

NAMED_AT_MOST = 3
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_MEMORY = (
    *("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory", "bad_alloc"),
    *("bad allocation", "failed to map segment", "failed to allocate memory", "can't start new thread"),
)
_ADVICE = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "see that you may read and write there"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ESTALE), "see that it was not moved or removed meanwhile"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "too many files are open, raise the limit with `ulimit -n`"),
    errno.EIO: "see whether the disk is damaged, or a network drive away",
    errno.EAGAIN: "the machine starts no more processes or threads, end some others",
}


class AudioProblem(Exception):
    """Why a sound file cannot be used, in a few words; who knows its name adds that."""


class InputError(ValueError):
    """Wrong input from outside. The message is one sentence: the file or key, what is wrong, what to do."""


def some(names: Iterable[str], at_most: int = NAMED_AT_MOST) -> str:
    """The first names for a sentence, and how many more there are."""
    every = list(names)
    more = len(every) - at_most
    return ", ".join(every[:at_most]) + (f" and {more:,} more" if more > 0 else "")


def disk_is_full(error: OSError) -> bool:
    """Whether it says that a disk, a quota or the largest size of a file is used up."""
    return error.errno in _DISK_FULL


def machine_fault(error: BaseException) -> str | None:
    """What the machine did to cause an error and what to do, in one sentence; None where it was not the machine."""
    if _is_of_memory(error):
        return f"there is no memory left{_detail(error)}: end other programs, or use a machine with more"
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if disk_is_full(error):
        where = f" at {error.filename}" if error.filename else ""
        return f"the disk is full{where} ({error.strerror}): free some space"
    advice = _ADVICE.get(error.errno, "see what this machine's log says of it")
    return f"{error.filename or 'a file or a connection'} cannot be used ({error.strerror}): {advice}"


def _is_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    said = str(error).lower()
    return isinstance(error, Exception) and any(words in said for words in _NO_MEMORY)


def _detail(error: BaseException) -> str:
    said = " ".join(str(error).split())
    return f" ({said if len(said) <= 120 else f'{said[:117]}...'})" if said else ""
