"""The errors that launch scripts turn into a sentence and exit code 2: wrong input, and a full disk."""

import errno

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class AudioProblem(Exception):
    """Why a sound file cannot be used, in a few words; who knows its name adds that."""


class InputError(ValueError):
    """Wrong input from outside. The message is one sentence: the file or key, what is wrong, what to do."""


def disk_is_full(error: OSError) -> bool:
    """Whether it says that a disk, a quota or the largest size of a file is used up."""
    return error.errno in _DISK_FULL
