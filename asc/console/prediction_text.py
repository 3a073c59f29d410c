"""Prints predictions as lines for people, rows of CSV or JSON objects; imports no torch."""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.text import Text

from asc.console.cli import Output, shown
from asc.errors import InputError
from asc.results import Prediction

Style = Literal["lines", "csv", "json"]


class Printer:
    """Prints predictions for files or for windows of a stream, each as soon as it is made.

    JSON for files is one object, so `finish` prints it; JSON for a stream is one object per line.
    """

    def __init__(self, output: Output, style: Style, *, key: Literal["file", "time_s"], top: int = 1) -> None:
        """`key` says whether predictions are for files or times; `top` is the number of labels in a line."""
        self.output = output
        self.style = style
        self._key, self._top = key, top
        self._trees: list[dict[str, Any]] = []
        self.count = 0
        self._noted: str | None = None

    def __call__(self, what: Path | float, prediction: Prediction) -> None:
        """Print the prediction for a file, or for the window that ends at a time in seconds."""
        name = shown(what) if isinstance(what, Path) else round(what, 6)
        match self.style:
            case "lines":
                line = most_probable(prediction, self._top)
                text = f"{line}  {name}" if self._key == "file" else f"{name:>6.10g} s  {line}"
                self.output.result(Text(text))
            case "csv":
                if self.count == 0:
                    self.output.line(csv_line([self._key, "label", "probability", *prediction.labels]))
                self.output.line(csv_line([name, prediction.label, *_digits(prediction)]))
            case "json":
                self._trees.append({**self._named(what), **tree(prediction)})
                if self._key == "time_s":
                    self.output.line(json.dumps(self._trees.pop(), allow_nan=False))
        self.count += 1
        self._note(f"{name}" if self._key == "file" else f"{name:.10g} s", prediction.note)

    def _note(self, name: str, note: str | None) -> None:
        """Print the note of a file; print that of a stream only when it changes."""
        news = self._key == "file" or note != self._noted
        if note is not None and news and self.style != "json":
            self.output.say(f"note: {name}: {note}")
        self._noted = note

    def _named(self, what: Path | float) -> dict[str, Any]:
        return file_names(what) if isinstance(what, Path) else {self._key: round(what, 6)}

    def finish(self, **more: Any) -> None:
        """Print one JSON object with all files and `more`; do nothing in other styles."""
        if self.style == "json":
            self.output.json({"predictions": self._trees, **more})


def most_probable(prediction: Prediction, top: int) -> str:
    """Format the `top` most probable labels and their probabilities in columns."""
    width = max(len(label) for label in prediction.labels)
    return "  ".join(f"{label:<{width}} {probability:>6.1%}" for label, probability in prediction.top(top))


def csv_line(cells: Iterable[object]) -> str:
    """Format a row of CSV, quoted where needed, without a line end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # so that cells with \r or \n are quoted
    return text.getvalue().removesuffix("\r\n")


def tree(prediction: Prediction) -> dict[str, Any]:
    """Return a prediction as a JSON object: `probabilities` starts with the most probable label, `note` is optional."""
    note = {} if prediction.note is None else {"note": prediction.note}
    return {
        "label": prediction.label,
        "probability": prediction.probability,
        "probabilities": dict(prediction.top(len(prediction.labels))),
        **note,
    }


def file_names(path: Path) -> dict[str, str]:
    """Return a file's name for JSON: as text and, if it is not UTF-8, also its bytes in hexadecimal."""
    data = os.fsencode(path)
    try:
        return {"file": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"file": shown(path), "file_bytes": data.hex()}


def require_one_task(paths: Sequence[Path], *, follow: bool) -> None:
    """Check that either files or a stream are given.

    Raises:
        InputError: both are given, or neither.
    """
    if follow and paths:
        raise InputError("--follow reads standard input: give either --follow or files")
    if not follow and not paths:
        raise InputError("there is nothing to predict: give audio files or folders, or --follow for a stream")


def require_one_style(*, csv: bool, json: bool, top: int) -> None:
    """Check the options for how predictions are printed.

    Raises:
        InputError: both CSV and JSON are asked for, or fewer than one label.
    """
    if csv and json:
        raise InputError("standard output is either CSV or JSON: give --csv or --json")
    if top < 1:
        raise InputError(f"--top must be at least 1, got {top}")


def _digits(prediction: Prediction) -> list[str]:
    return [f"{probability:.9g}" for probability in (prediction.probability, *prediction.probabilities)]
