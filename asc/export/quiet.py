"""Keeps a converter's notices off the terminal: two loggers, one warning, and lines that native code marks as notices.

Everything else is shown: exceptions, what other loggers say, and what native code says at the level of a warning or
above, which is held back until the converter has ended.
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
    "torchao",  # names each of its CUDA libraries that does not load, where there is no GPU none does
    "torch.utils._pytree",  # tells the authors of torchao that a call of theirs is deprecated
)
# torch copies specifications by a class that it has deprecated itself.
_DEPRECATED = r"`isinstance\(treespec, LeafSpec\)` is deprecated"
# A count of operations, the delegate's name, and absl's remark that it was not set up. ExecuTorch gives no level: it
# tells how it counts cores, for a pool that gets one thread here, which it tells as well.
_NOTICE = re.compile(
    rb"I\d{4} |INFO: |WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|\[cpuinfo_utils\.cpp:\d+\] |\[threadpool\.cpp:\d+\] Resetting "
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Run a converter, or load its file, without its notices; progress and errors of asc are shown meanwhile."""
    with contextlib.ExitStack() as stack:
        for name in _LOGGERS:
            stack.enter_context(_only_errors(logging.getLogger(name)))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", _DEPRECATED, FutureWarning)
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))  # which is for results; progress is told there
        stack.enter_context(_without_native_notices())
        yield


@contextlib.contextmanager
def native_words() -> Iterator[None]:
    """Within `quiet`: treat what comes through `sys.stderr` as native code's, for pybind11 can send that there."""
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
    """Hold back what is written to file descriptor 2; `sys.stderr` goes on to where that led."""
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
    """A stream to where descriptor 2 leads now. Don't close it: a thread that draws progress may still write to it."""
    return os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")


def _is_descriptor_2(stream: object) -> bool:
    try:
        return isinstance(stream, io.TextIOBase) and stream.fileno() == 2
    except io.UnsupportedOperation:
        return False
