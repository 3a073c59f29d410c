"""Typed command lines for launch/: options are frozen dataclasses; wrong input ends in one sentence and exit code 2.

Results go to standard output, everything else to standard error. With --json, standard output is exactly one JSON
object.
"""

import contextlib
import dataclasses
import gc
import inspect
import json
import logging
import os
import re
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import IO, Any, BinaryIO, TypeVar, cast

import tyro
from rich.console import Console

from asc.console.grouped import grouped, ungrouped
from asc.errors import InputError, machine_fault
from asc.launchers import command

Options = TypeVar("Options")

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def option(metavar: str) -> Any:
    """Declare an option whose help shows this word for its value, and no default except in the text."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


def launch(main: Callable[[Options], int], options: Any, *, description: str | None = None) -> None:
    """Parse the command line into `options`, run `main`, and exit with its code.

    `description` opens the help of a script with subcommands, whose `options` are a union and so have no docstring.

    Wrong input (`InputError`) and faults of the machine (`machine_fault`, such as a full disk or no memory) end in one
    sentence on standard error and exit code 2. SIGTERM, which cluster schedulers send before they kill a job, is
    treated as Ctrl-C, so that work in progress ends cleanly.

    Threads of torch that wait for each other sleep, unless OMP_WAIT_POLICY says otherwise. By default they spin: where
    other programs need the processor too, a training step on two threads then took ten times as long.
    """
    signal.signal(signal.SIGTERM, as_interrupt)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # OpenMP reads it when torch is imported, which is later
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
    gc.freeze()  # else the collector goes over every module once more: a second where torch and MLflow are imported
    sys.exit(code)


def _parsed(options: type[Options], description: str | None) -> Options:
    with standard_output():
        try:
            said = _with_examples(description or inspect.getdoc(options) or "")
            if not dataclasses.is_dataclass(options):  # subcommands
                return tyro.cli(options, description=said, config=CONFIG)
            return ungrouped(options, tyro.cli(grouped(options), description=said, config=CONFIG))
        except SystemExit:  # tyro printed the help, or an error in the command line
            sys.stdout.flush()
            raise


def _with_examples(description: str) -> str:
    """What the help opens with: the examples of the script's own docstring, at most three, and the description."""
    lines = (inspect.getdoc(sys.modules["__main__"]) or "").splitlines()
    said = [re.sub(r"^python launch/(\w+)\.py", lambda found: command(found[1]), line) for line in lines]
    examples = [f"  {new}" for line, new in zip(lines, said, strict=True) if line.startswith("python launch/")][:3]
    return "\n".join([*(["Examples:", *examples, ""] if examples else []), _wrapped(description)])


def _wrapped(text: str) -> str:
    """The paragraphs of a text, wrapped for the terminal. Lines are indented, else tyro would join them again."""
    width = max(40, shutil.get_terminal_size().columns - 1)
    paragraphs = [" ".join(part.split()).replace(" %", "\u00a0%") for part in text.split("\n\n")]
    return "\n\n".join(textwrap.fill(p, width, subsequent_indent="  ", break_on_hyphens=False) for p in paragraphs)


def _open_closed_outputs() -> None:
    """Discard what is printed to an output that was closed before this program began, as by `>&-`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))


def as_interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal as if the user had pressed Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


def complain(sentence: str) -> int:
    """Print an error on one line of standard error, and return the exit code for wrong input."""
    print("error:", shown(" ".join(sentence.split())), file=cast(IO[str], _StandardError()))
    return WRONG_INPUT


def warn(sentence: str) -> None:
    """Print a warning on one line of standard error, about something that the user may want to fix."""
    print("warning:", shown(" ".join(sentence.split())), file=cast(IO[str], _StandardError()))


class _Warnings(logging.Handler):
    """Prints the warnings that modules of asc log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's message with `warn`."""
        warn(record.getMessage())


def shown(name: object) -> str:
    r"""Return a file's name, or a text that contains names, as printable UTF-8.

    Bytes that are not UTF-8, and control characters, which a terminal would obey, become escapes such as `\x1b`. Tabs
    and line ends stay.
    """
    text = str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def standard_input() -> BinaryIO:
    """Return standard input as a binary stream.

    Raises:
        InputError: standard input was closed before this program began.
    """
    if sys.stdin is None:
        raise InputError("standard input is closed: send a stream, as in arecord ... | predict.py ... --follow")
    return sys.stdin.buffer


class _StandardError:
    """Standard error as a file whose failures are ignored, so that a lost message never ends the work.

    If its reader has gone, the disk is full or the terminal was closed, everything more is dropped.
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
        """Return the file descriptor."""
        return self._stream().fileno()

    def _stream(self) -> IO[str]:
        """Return the current standard error; while a rich live view replaces it, the original stream."""
        stream: IO[str] = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
        return stream


class _Results(Console):
    """A console that raises on a broken pipe; rich's own would silently end the process with exit code 1."""

    def on_broken_pipe(self) -> None:
        """Raise the error again that rich is about to swallow."""
        raise


@contextlib.contextmanager
def standard_output() -> Iterator[None]:
    """Flush standard output at the end of the block.

    Raises:
        InputError: standard output cannot be written: its reader has gone, or a disk is full.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        reason = "closed before all was printed" if isinstance(error, BrokenPipeError) else f"lost ({error.strerror})"
        raise InputError(f"standard output was {reason}: send it elsewhere; what was finished is kept") from error


def _discard(stream: IO[str]) -> None:
    """Discard what a stream still holds and whatever it gets; otherwise Python would fail again when it exits."""
    with contextlib.suppress(OSError, ValueError):  # a test's replacement has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Output:
    """Prints a script's output: `say` for progress, `result` for results, `json` for programs."""

    def __init__(self, *, as_json: bool, quiet: bool = False) -> None:
        """With `as_json`, results for people go to standard error instead, but nowhere if `quiet`.

        `quiet` also leaves out what `say` and `notes` would print, and all that is drawn on `progress`.
        """
        self._as_json = as_json
        self._alerts = Console(file=cast(IO[str], _StandardError()), highlight=False, soft_wrap=True)
        self.progress = Console(file=cast(IO[str], _StandardError()), highlight=False, soft_wrap=True, quiet=quiet)
        self.results = self.progress if as_json else _Results(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a line on standard error."""
        self.progress.print(shown(text), markup=False)

    def alert(self, text: str) -> None:
        """Print a line on standard error that must not be missed, such as how to go on with what was interrupted."""
        (self._alerts if self.progress.quiet else self.progress).print(shown(text), markup=False)

    def notes(self, notes: Iterable[str]) -> None:
        """Print each note as a line on standard error."""
        for note in notes:
            self.say(f"note: {note}")

    def result(self, renderable: Any) -> None:
        """Print a table or text on standard output, or on standard error with --json (errors as `standard_output`)."""
        with contextlib.nullcontext() if self._as_json else standard_output():
            if isinstance(renderable, str):
                self.results.print(shown(renderable), markup=False)
            else:
                self.results.print(renderable)

    def line(self, text: str) -> None:
        """Print a line of data on standard output, unchanged (errors as `standard_output`)."""
        with standard_output():
            print(text)

    def json(self, tree: dict[str, Any]) -> None:
        """Print the JSON object on standard output, or nothing without --json (errors as `standard_output`)."""
        if self._as_json:
            self.line(json.dumps(tree, allow_nan=False))
