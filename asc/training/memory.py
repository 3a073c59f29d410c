"""Keeps freed memory for the next training step, on Linux with the GNU C library; elsewhere this does nothing.

A step frees its maps in the backward pass. The C library then returns the memory to the system, and the next step pays
for fresh pages: up to a third of the processor time of a step. https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

import contextlib
import ctypes
import sys
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # the numbers of malloc.h
_MB = 2**20
_NEVER = 2**31 - 1
_DEFAULT_MAPS = 65_536


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory in this process; at the end, return it and set what the C library's own limits grow to."""
    library = _c_library()
    if library is None:
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _DEFAULT_MAPS)
        library.mallopt(_MMAP_THRESHOLD, 32 * _MB)
        library.mallopt(_TRIM_THRESHOLD, 64 * _MB)
        library.malloc_trim(0)


def _c_library() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
