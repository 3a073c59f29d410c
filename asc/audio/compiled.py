"""Compiles C files of asc at their first use, calls their functions on tensors, and shares work among threads.

A file is compiled once for each kind of processor, by the machine's own C compiler, into `$ASC_CACHE` or
`~/.cache/asc`. A machine without a compiler does the same with torch's operations: slower, and with the same results
up to rounding.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
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
_PROCESSORS = {"AVX512": ("-march=x86-64-v4",), "AVX2": ("-march=x86-64-v3",)}
"""The compiler's names for what torch says of a processor."""
_NoHome = RuntimeError
"""What `Path.home` raises for a user without a home directory."""
_WORTH_A_THREAD = 2**16
"""Values for which a second thread saves more time than it costs."""


class Library:
    """The functions of a compiled file."""

    def __init__(self, functions: ctypes.CDLL) -> None:
        """Take the file as ctypes has loaded it."""
        self._functions = functions

    def call(self, name: str, *arguments: Tensor | float) -> int:
        """What a function returns; of no use where it returns nothing. Tensors are passed as pointers."""
        returned: int = getattr(self._functions, name)(*map(_c_argument, arguments))
        return returned


@functools.cache
def library(source: Path) -> Library | None:
    """The functions of a C file, or None if this machine cannot compile it. The first call may take two seconds."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    own = _PROCESSORS.get(torch.backends.cpu.get_cpu_capability(), ())
    for options in dict.fromkeys([(*_OPTIONS, *own), _OPTIONS]):  # an older compiler may not know the processor
        with contextlib.suppress(OSError, subprocess.SubprocessError, _NoHome):
            return Library(ctypes.CDLL(str(_compiled(source, compiler, options))))
    return None


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
    """The compiled file, made unless it is there; others may be making the same at this moment.

    Raises:
        OSError: the folder cannot be written, or somebody else could have put the file there.
        SubprocessError: the compiler fails.
    """
    digest = hashlib.sha256(source.read_bytes() + " ".join((compiler, *options, "0700")).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("ASC_CACHE") or Path.home() / ".cache" / "asc") / "compiled"
    compiled = cache / f"{source.stem}-{digest}.so"
    if not compiled.exists():
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            made = Path(folder) / compiled.name
            command = [compiler, *options, str(source), "-o", str(made), "-lm"]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            made.chmod(0o700)
            made.replace(compiled)
    for path in (cache, compiled):
        if path.stat().st_uid != os.getuid() or path.stat().st_mode & 0o022:
            raise PermissionError(f"{path} may be changed by others")
    return compiled
