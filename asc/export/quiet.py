"""Keeps a converter's notices off the terminal: two loggers, one warning, and lines that native code marks as notices.

Everything else is shown: exceptions, other loggers' messages, and native code's warnings and errors, which appear after
the converter has ended.
"""

import contextlib
import io
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import TextIO

_LOGGERS = (
    "torchao",  # names each CUDA library that it cannot load: without a GPU, all of them
    "torch.utils._pytree",  # warns of a deprecated call in torchao
)
# torch itself uses a class that it has deprecated.
_DEPRECATED = r"`isinstance\(treespec, LeafSpec\)` is deprecated"
# A count of operations, the delegate's name, and absl's remark that it was not initialised. ExecuTorch's lines have no
# level: they say how it counts cores, and that its thread pool was reset (to one thread, here).
_NOTICE = re.compile(
    rb"I\d{4} |INFO: |WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|\[cpuinfo_utils\.cpp:\d+\] |\[threadpool\.cpp:\d+\] Resetting "
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide a converter's notices while it runs or its file is loaded; asc's own progress and errors are still shown."""
    with contextlib.ExitStack() as stack:
        for name in _LOGGERS:
            stack.enter_context(_only_errors(logging.getLogger(name)))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", _DEPRECATED, FutureWarning)
        # Standard output is for results, but converters print their progress there.
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(_without_native_notices())
        yield


@contextlib.contextmanager
def native_words() -> Iterator[None]:
    """Within `quiet`, treat lines written to `sys.stderr` as native code's, since pybind11 can redirect those there."""
    stream = _descriptor_2()
    with contextlib.redirect_stderr(stream):
        yield
    stream.flush()


@contextlib.contextmanager
def _only_errors(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _without_native_notices() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, and drop notices; `sys.stderr` still shows at once."""
    sys.stderr.flush()
    shown = _descriptor_2()
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            with contextlib.redirect_stderr(shown) if _is_descriptor_2(sys.stderr) else contextlib.nullcontext():
                yield
        finally:
            os.dup2(shown.fileno(), 2)
            held.seek(0)
            for line in held:
                if not _NOTICE.match(line):
                    os.write(2, line)


def _descriptor_2() -> TextIO:
    """Open a copy of file descriptor 2. Don't close it: a thread that draws progress may still write to it."""
    return os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")


def _is_descriptor_2(stream: object) -> bool:
    try:
        return isinstance(stream, io.TextIOBase) and stream.fileno() == 2
    except io.UnsupportedOperation:
        return False
