"""Typed command lines for launch/: options are frozen dataclasses, wrong input is one sentence and exit code 2.

Results go to standard output, all else to standard error; with --json standard output is exactly one JSON object.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, BinaryIO, TypeVar

import tyro
from rich.console import Console

from asc.errors import InputError, disk_is_full

Options = TypeVar("Options")

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def option(metavar: str) -> Any:
    """An option whose help shows this word for its value, and no default but what the text says."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


def launch(main: Callable[[Options], int], options: type[Options], *, description: str | None = None) -> None:
    """Parse the command line into `options`, run `main`, and exit with its code.

    `description` opens the help of a script with subcommands, whose `options` are a union and so have no docstring.

    Wrong input (`InputError`) and a full disk end in one sentence on standard error and exit code 2. SIGTERM, which
    schedulers of clusters send before they kill, is taken as Ctrl-C: what is under way is ended in order.
    """
    signal.signal(signal.SIGTERM, as_interrupt)
    try:
        code = main(tyro.cli(options, description=description, config=(tyro.conf.FlagCreatePairsOff,)))
    except BrokenPipeError:
        # Whoever read the output, such as head, has seen enough; nothing is left that could be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except InputError as error:
        code = complain(str(error))
    except OSError as error:
        if not disk_is_full(error):
            raise
        where = f" at {error.filename}" if error.filename else ""
        code = complain(f"the disk is full{where} ({error.strerror}): free some space; what was finished is kept")
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def as_interrupt(number: int, frame: FrameType | None) -> None:
    """A signal's handler: whatever Ctrl-C would do now."""
    signal.raise_signal(signal.SIGINT)


def complain(sentence: str) -> int:
    """Print one sentence to standard error, on one line; the exit code for wrong input."""
    print("error:", shown(" ".join(sentence.split())), file=sys.stderr)
    return WRONG_INPUT


def warn(sentence: str) -> None:
    """Print one line to standard error about something that the user may want to mend."""
    print("warning:", shown(" ".join(sentence.split())), file=sys.stderr)


def shown(name: object) -> str:
    """A file's name, or a text with names in it, as UTF-8; bytes that are none are written as escapes."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def standard_input() -> BinaryIO:
    """The bytes of standard input.

    Raises:
        InputError: it was closed before this program began.
    """
    if sys.stdin is None:
        raise InputError("standard input is closed: send a stream, as in arecord ... | predict.py ... --follow")
    return sys.stdin.buffer


class Output:
    """Where a script prints: `say` for people on the way, `result` for what was asked, `json` for programs."""

    def __init__(self, *, as_json: bool) -> None:
        """With `as_json`, results for people go to standard error as well."""
        self._as_json = as_json
        self.progress = Console(stderr=True, highlight=False, soft_wrap=True)
        self.results = self.progress if as_json else Console(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A line on standard error."""
        self.progress.print(shown(text), markup=False)

    def notes(self, notes: Iterable[str]) -> None:
        """What the person should know, a line each on standard error."""
        for note in notes:
            self.say(f"note: {note}")

    def result(self, renderable: Any) -> None:
        """A table or text on standard output (on standard error with --json)."""
        if isinstance(renderable, str):
            self.results.print(shown(renderable), markup=False)
        else:
            self.results.print(renderable)

    def json(self, tree: dict[str, Any]) -> None:
        """The one JSON object on standard output; nothing without --json."""
        if self._as_json:
            print(json.dumps(tree, allow_nan=False))
