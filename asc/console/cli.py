"""Typed command lines for launch/: options are frozen dataclasses, wrong input is one sentence and exit code 2.

Results go to standard output, all else to standard error; with --json standard output is exactly one JSON object.
"""

import contextlib
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import IO, Any, BinaryIO, TypeVar, cast

import tyro
from rich.console import Console

from asc.errors import InputError, machine_fault

Options = TypeVar("Options")

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def option(metavar: str) -> Any:
    """An option whose help shows this word for its value, and no default but what the text says."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


def launch(main: Callable[[Options], int], options: Any, *, description: str | None = None) -> None:
    """Parse the command line into `options`, run `main`, and exit with its code.

    `description` opens the help of a script with subcommands, whose `options` are a union and so have no docstring.

    Wrong input (`InputError`), and what a machine does (`machine_fault`: a full disk, no memory), end in one sentence
    on standard error and exit code 2. SIGTERM, which schedulers of clusters send before they kill, is taken as Ctrl-C:
    what is under way is ended in order.
    """
    signal.signal(signal.SIGTERM, as_interrupt)
    logging.getLogger("asc").addHandler(_Warnings(logging.WARNING))
    _open_closed_outputs()
    try:
        code = main(_parsed(options, description))
        with standard_output():
            pass
    except InputError as error:
        code = complain(str(error))
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        code = complain(f"{fault}; what was finished is kept")
    sys.exit(code)


def _parsed(options: type[Options], description: str | None) -> Options:
    with standard_output():
        try:
            return tyro.cli(options, description=description, config=(tyro.conf.FlagCreatePairsOff,))
        except SystemExit:  # help was printed, or what is wrong with the command line
            sys.stdout.flush()
            raise


def _open_closed_outputs() -> None:
    """What is printed goes nowhere where an output was closed before this program began, as by `>&-`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))


def as_interrupt(number: int, frame: FrameType | None) -> None:
    """A signal's handler: whatever Ctrl-C would do now."""
    signal.raise_signal(signal.SIGINT)


def complain(sentence: str) -> int:
    """Print one sentence to standard error, on one line; the exit code for wrong input."""
    print("error:", shown(" ".join(sentence.split())), file=cast(IO[str], _StandardError()))
    return WRONG_INPUT


def warn(sentence: str) -> None:
    """Print one line to standard error about something that the user may want to mend."""
    print("warning:", shown(" ".join(sentence.split())), file=cast(IO[str], _StandardError()))


class _Warnings(logging.Handler):
    """What modules of asc log is something that the user may want to mend."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's message (`warn`)."""
        warn(record.getMessage())


def shown(name: object) -> str:
    r"""A file's name, or a text with names in it, as UTF-8.

    Bytes that are not UTF-8 are written as escapes, and so are control characters, which a terminal would obey: `\x1b`.
    Tabs and ends of lines stay.
    """
    text = str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def standard_input() -> BinaryIO:
    """The bytes of standard input.

    Raises:
        InputError: it was closed before this program began.
    """
    if sys.stdin is None:
        raise InputError("standard input is closed: send a stream, as in arecord ... | predict.py ... --follow")
    return sys.stdin.buffer


class _StandardError:
    """Standard error as a file that is written while it can be: no work is given up for what is said on the way.

    A pipe whose reader has gone, a full disk or a terminal that was closed takes nothing more; the work goes on.
    """

    def write(self, text: str) -> int:
        """Write, or drop what cannot be written."""
        stream = self._stream()
        try:
            stream.write(text)
        except OSError:
            _discard(stream)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop what cannot be written."""
        stream = self._stream()
        try:
            stream.flush()
        except OSError:
            _discard(stream)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream().isatty()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._stream().fileno()

    def _stream(self) -> IO[str]:
        """What is standard error now; while a live view has it, rich's stand-in gives what it stands in for."""
        stream: IO[str] = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
        return stream


class _Results(Console):
    """A console whose reader may go away: rich's own would end the process with exit code 1 and no word."""

    def on_broken_pipe(self) -> None:
        """Let the error that rich is about to swallow go on."""
        raise


@contextlib.contextmanager
def standard_output() -> Iterator[None]:
    """Whatever is printed within it is on its way when it ends.

    Raises:
        InputError: nothing more can be written to standard output: who read it has gone, or a disk is full.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        reason = "closed before all was printed" if isinstance(error, BrokenPipeError) else f"lost ({error.strerror})"
        raise InputError(f"standard output was {reason}: send it elsewhere; what was finished is kept") from error


def _discard(stream: IO[str]) -> None:
    """Let what a stream still holds, and whatever it gets, go nowhere: Python would fail on it again when it exits."""
    with contextlib.suppress(OSError, ValueError):  # a stand-in of a test has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Output:
    """Where a script prints: `say` for people on the way, `result` for what was asked, `json` for programs."""

    def __init__(self, *, as_json: bool) -> None:
        """With `as_json`, results for people go to standard error as well."""
        self._as_json = as_json
        self.progress = Console(file=cast(IO[str], _StandardError()), highlight=False, soft_wrap=True)
        self.results = self.progress if as_json else _Results(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A line on standard error."""
        self.progress.print(shown(text), markup=False)

    def notes(self, notes: Iterable[str]) -> None:
        """What the person should know, a line each on standard error."""
        for note in notes:
            self.say(f"note: {note}")

    def result(self, renderable: Any) -> None:
        """A table or text on standard output (on standard error with --json; errors as `standard_output`)."""
        with contextlib.nullcontext() if self._as_json else standard_output():
            if isinstance(renderable, str):
                self.results.print(shown(renderable), markup=False)
            else:
                self.results.print(renderable)

    def line(self, text: str) -> None:
        """A line of data on standard output, as it is (errors as `standard_output`)."""
        with standard_output():
            print(text)

    def json(self, tree: dict[str, Any]) -> None:
        """The one JSON object on standard output; nothing without --json (errors as `standard_output`)."""
        if self._as_json:
            self.line(json.dumps(tree, allow_nan=False))
