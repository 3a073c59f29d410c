"""The errors that launch scripts turn into one sentence and exit code 2: wrong input, and faults of the machine.

A machine may run out of disk space, memory or open files; a folder may disappear or become read-only. Python raises
`OSError` and `MemoryError` for these. torch and onnxruntime raise errors of their own, which are recognised by their
messages.
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
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "check that you may read and write there"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ESTALE), "check that it was not moved or removed meanwhile"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "too many files are open, so raise the limit with `ulimit -n`"),
    errno.EIO: "check whether the disk is damaged or a network drive is disconnected",
    errno.EAGAIN: "the limit on processes or threads is reached, so end some others",
}


class AudioProblem(Exception):
    """Why a sound file cannot be used, in a few words; code that knows the file's name adds it."""


class InputError(ValueError):
    """Wrong input by the user. The message is one sentence: the file or key, what is wrong, what to do."""


class Infeasible(InputError):
    """Values of a config that are allowed one by one, but not together; a search passes over such a point."""


def some(names: Iterable[str], at_most: int = NAMED_AT_MOST) -> str:
    """The first `at_most` names, joined for a sentence, and the number of the others."""
    every = list(names)
    more = len(every) - at_most
    return ", ".join(every[:at_most]) + (f" and {more:,} more" if more > 0 else "")


def counted(count: int, noun: str) -> str:
    """As `1 trial` or `1,000 trials`, for a sentence."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def disk_is_full(error: OSError) -> bool:
    """Whether the disk or a quota is full, or a file has reached its largest size."""
    return error.errno in _DISK_FULL


def machine_fault(error: BaseException) -> str | None:
    """If the machine caused an error: one sentence that says how, and what to do. Otherwise None."""
    if _is_of_memory(error):
        return f"there is no memory left{_detail(error)}: end other programs, or use a machine with more memory"
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if disk_is_full(error):
        where = f" at {error.filename}" if error.filename else ""
        return f"the disk is full{where} ({error.strerror}): free some space"
    advice = _ADVICE.get(error.errno, "look for it in this machine's log")
    return f"{error.filename or 'a file or a connection'} cannot be used ({error.strerror}): {advice}"


def _is_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    said = str(error).lower()
    return isinstance(error, Exception) and any(words in said for words in _NO_MEMORY)


def _detail(error: BaseException) -> str:
    said = " ".join(str(error).split())
    return f" ({said if len(said) <= 120 else f'{said[:117]}...'})" if said else ""


def require(condition: bool, message: str) -> None:
    """Check a condition on the user's input.

    Raises:
        InputError: it does not hold; its text is `message`.
    """
    if not condition:
        raise InputError(message)


def require_together(condition: bool, message: str) -> None:
    """Check that values of different keys can be combined.

    Raises:
        Infeasible: they cannot; its text is `message`.
    """
    if not condition:
        raise Infeasible(message)
