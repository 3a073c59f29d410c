"""Many sound files: which ones a list of files and folders means, and the prediction of each or why there is none."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asc import cli
from asc.data.audio_file import audio_suffixes
from asc.errors import InputError
from asc.predict import Model
from asc.prediction_text import Printer, shown
from asc.progress import counting
from asc.results import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file or folder without prediction, and why, in a few words."""

    path: Path
    reason: str


def predict_files(model: Model, paths: Iterable[Path], printer: Printer) -> int:
    """Print the prediction of every file that `paths` mean; name those that cannot be used at the end.

    JSON says whether all were looked at (`complete`), or Ctrl-C came before.

    Returns the exit code: 2 where a file or folder cannot be used, 130 where Ctrl-C ended it, else 0.
    """
    files, problems = sound_files(paths)
    output, interrupted = printer.output, False
    try:
        with _progress(printer, len(files)) as progress:
            for number, (path, said) in enumerate(predictions(model, files), start=1):
                if isinstance(said, Unreadable):
                    problems.append(said)
                else:
                    printer(path, said)
                progress(number, len(files))
    except KeyboardInterrupt:
        interrupted = True
    for problem in problems:
        cli.complain(f"{shown(problem.path)}: {problem.reason}")
    printer.finish(
        complete=not interrupted,
        labels=list(model.labels),
        unreadable=[{"file": shown(problem.path), "reason": problem.reason} for problem in problems],
    )
    of_all = f" of {len(files)}" if printer.count < len(files) else ""
    named = f"; {len(problems)} cannot be used and are named above" if problems else ""
    output.say(f"{'stopped: ' * interrupted}{printer.count}{of_all} file{'s' * (len(files) != 1)} predicted{named}")
    return cli.INTERRUPTED if interrupted else cli.WRONG_INPUT if problems else cli.DONE


def sound_files(paths: Iterable[Path]) -> tuple[list[Path], list[Unreadable]]:
    """The files that are named, and those below the folders that are named, sorted in each; every file once.

    Below folders only names with an ending of libsndfile's containers count, and none that begin with a dot; links to
    folders are not followed. Folders that cannot be listed, or hold no such file, come back as unreadable.
    """
    suffixes, found, problems = audio_suffixes(), dict[Path, None](), list[Unreadable]()
    for path in paths:
        if not path.is_dir():
            found[path] = None
            continue
        below, failed = _below(path, suffixes)
        problems += failed
        if not below and not failed:
            problems.append(Unreadable(path=path, reason="no sound file in this folder (wav, flac, ogg, mp3, ...)"))
        found |= dict.fromkeys(below)
    return list(found), problems


def predictions(model: Model, files: Sequence[Path]) -> Iterator[tuple[Path, Prediction | Unreadable]]:
    """What the model says of every file, in order; a file that cannot be used stops none of the others."""
    for path in files:
        try:
            yield path, model.predict_file(path)
        except InputError as error:
            yield path, Unreadable(path=path, reason=str(error).removeprefix(f"{path}: "))


def _below(folder: Path, suffixes: frozenset[str]) -> tuple[list[Path], list[Unreadable]]:
    failed = list[Unreadable]()

    def note(error: OSError) -> None:
        failed.append(Unreadable(path=Path(error.filename), reason=f"unreadable: {error.strerror}"))

    files = [
        Path(where) / name
        for where, _, names in os.walk(folder, onerror=note)
        for name in names
        if Path(name).suffix.lower() in suffixes and not name.startswith(".")
    ]
    return sorted(path for path in files if path.is_file()), failed


@contextlib.contextmanager
def _progress(printer: Printer, files: int) -> Iterator[Callable[[int, int], None]]:
    """A bar below the lines in a terminal; elsewhere on standard error; none where it would cut through rows."""
    output = printer.output
    through_rows = printer.style == "csv" and output.results.is_terminal
    if files < 2 or through_rows:
        yield lambda done, total: None
        return
    console = output.results if output.results.is_terminal else output.progress
    with counting(console, "predicting", "files") as progress:
        yield progress
