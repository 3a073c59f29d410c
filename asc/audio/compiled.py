"""Compiles C files of asc at their first use, calls their functions on tensors, and shares work among threads.

A file is compiled once for each kind of processor, by the machine's own C compiler, into `$ASC_CACHE` or
`~/.cache/asc`. When one is made, those that nobody has used for a month are removed, such as those of earlier versions;
a process that has one open keeps it. A machine without a compiler does the same with torch's operations: slower, and
with the same results up to rounding.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

Found = TypeVar("Found")

# All compilers round alike without contraction. The last two say that nothing asks for floating-point exceptions;
# without them, few loops become vector instructions.
_OPTIONS = ("-O3", "-std=c99", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
_PROCESSORS = {
    "AVX512": ("-march=x86-64-v4", "-march=skylake-avx512"),
    "AVX2": ("-march=x86-64-v3", "-march=haswell"),
}
"""The compiler's names for what torch says of an x86 processor, and what older compilers call it.

For any x86 processor at once the loops would be slower than torch's operations.
"""
_NoHome = RuntimeError
"""What `Path.home` raises for a user without a home directory."""
_WORTH_A_THREAD = 2**16
"""Values for which a second thread saves more time than it costs."""
_UNUSED_S = 30 * 24 * 3600.0
"""After which a file is removed: no sooner, because machines of other kinds may share the folder."""


class Library:
    """The functions of a compiled file."""

    def __init__(self, functions: ctypes.CDLL) -> None:
        """Take the file as ctypes has loaded it."""
        self._functions = functions

    def call(self, name: str, *arguments: Tensor | float) -> int:
        """Call a function and return its result, an integer, if it has one. Tensors are passed as pointers."""
        returned: int = getattr(self._functions, name)(*map(_c_argument, arguments))
        return returned


@functools.cache
def library(source: Path) -> Library | None:
    """The functions of a C file, or None if this machine cannot compile it. The first call may take two seconds."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    for names in _names_of_the_processor():
        with contextlib.suppress(OSError, subprocess.SubprocessError, _NoHome):
            return Library(ctypes.CDLL(str(_compiled(source, compiler, (*_OPTIONS, *names)))))
    return None


def _names_of_the_processor() -> list[tuple[str, ...]]:
    """The options to try in turn, none of them for another kind of processor than x86; an empty list for an old x86."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return [()]
    return [(name,) for name in _PROCESSORS.get(torch.backends.cpu.get_cpu_capability(), ())]


def in_parts(function: Callable[..., Found], *maps: Tensor) -> list[Found]:
    """What a function returns for the same rows of each map, for as many parts as there are threads to work on them."""
    count = min(torch.get_num_threads(), 1 + maps[0].numel() // _WORTH_A_THREAD)
    if count == 1:
        return [function(*maps)]
    parts = list(zip(*(torch.tensor_split(one, count) for one in maps), strict=True))
    others = [_threads(os.getpid()).submit(function, *part) for part in parts[1:]]
    return [function(*parts[0]), *(other.result() for other in others)]


@functools.cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Threads of a process; one that was forked off needs its own."""
    return ThreadPoolExecutor(max_workers=os.cpu_count())


def _c_argument(value: Tensor | float) -> object:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    return ctypes.c_long(value) if isinstance(value, int) else ctypes.c_float(value)


def _compiled(source: Path, compiler: str, options: tuple[str, ...]) -> Path:
    """The compiled file, made unless it is there whole; others may be making the same at this moment.

    Raises:
        OSError: the folder cannot be written, or somebody else could have put the file there.
        SubprocessError: the compiler fails.
    """
    digest = hashlib.sha256(source.read_bytes() + " ".join((compiler, *options, "0700")).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("ASC_CACHE") or Path.home() / ".cache" / "asc") / "compiled"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_rights(cache)
    compiled = _whole(cache, f"{source.stem}-{digest}")
    if compiled is None:
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            made = Path(folder) / "made.so"
            command = [compiler, *options, str(source), "-o", str(made), "-lm"]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            made.chmod(0o700)
            with made.open("rb+") as file:
                os.fsync(file.fileno())
            compiled = cache / f"{source.stem}-{digest}-{made.stat().st_size}.so"
            made.replace(compiled)
        _remove_unused(cache)
    _check_rights(compiled)
    with contextlib.suppress(OSError):  # such as on a disk that is read-only
        os.utime(compiled, ns=(time.time_ns(), compiled.stat().st_mtime_ns))
    return compiled


def _remove_unused(cache: Path) -> None:
    """Remove files, and folders that crashes left, that were neither made nor used for `_UNUSED_S`."""
    for path in cache.iterdir():
        with contextlib.suppress(OSError):  # another process may be removing it
            found = path.stat()
            if time.time() - max(found.st_atime, found.st_mtime) < _UNUSED_S:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _whole(cache: Path, stem: str) -> Path | None:
    """The compiled file of this name whose size is that in its name; others, cut off by a crash, are removed."""
    for file in cache.glob(f"{stem}-*.so"):
        if file.stem == f"{stem}-{file.stat().st_size}":
            return file
        file.unlink()
    return None


def _check_rights(path: Path) -> None:
    if path.stat().st_uid != os.getuid() or path.stat().st_mode & 0o022:
        raise PermissionError(f"{path} may be changed by others")
