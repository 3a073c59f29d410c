"""Predict many sound files: expand a list of files and folders, and report a prediction or a problem for each."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asc.console import cli
from asc.console.cli import shown
from asc.console.prediction_text import Printer, file_names
from asc.console.progress import counting
from asc.data.sound_folder import Found, sound_below
from asc.errors import InputError, machine_fault, some
from asc.inference.predict import Model
from asc.results import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file or folder without a prediction, and a short reason.

    `passed_over` are skipped files of a folder that the reason already mentions.
    """

    path: Path
    reason: str
    passed_over: tuple[Path, ...] = ()


def predict_files(model: Model, paths: Iterable[Path], printer: Printer) -> int:
    """Print the prediction of every file in `paths` (files and folders), and list the unusable ones at the end.

    JSON output has `complete`, which is false if Ctrl-C stopped it.

    Returns the exit code: 130 after Ctrl-C, 2 if a file or folder cannot be used, else 0.
    """
    listing = sound_files(paths)
    files, problems = listing.files, list(listing.problems)
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
    named = {path for problem in problems for path in problem.passed_over}
    if others := [path for path in listing.passed_over if path not in named]:
        output.say(f"passed over in folders: {_counted(others)}")
    for problem in problems:
        cli.complain(f"{shown(problem.path)}: {problem.reason}")
    printer.finish(
        complete=not interrupted,
        labels=list(model.labels),
        unreadable=[{**file_names(problem.path), "reason": shown(problem.reason)} for problem in problems],
        passed_over=[file_names(path) for path in listing.passed_over],
    )
    of_all = f" of {len(files)}" if printer.count < len(files) else ""
    unused = f"; {len(problems)} cannot be used and are named above" if problems else ""
    output.say(f"{'stopped: ' * interrupted}{printer.count}{of_all} file{'s' * (len(files) != 1)} predicted{unused}")
    return cli.INTERRUPTED if interrupted else cli.WRONG_INPUT if problems else cli.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """An expanded list of paths: sound files (each once), unusable paths, and skipped files of folders."""

    files: tuple[Path, ...]
    problems: tuple[Unreadable, ...]
    passed_over: tuple[Path, ...]


def sound_files(paths: Iterable[Path]) -> Listing:
    """Expand paths: keep files, and replace every folder by the sound files below it, sorted.

    In folders, sound files are recognised by their suffix (`sound_below`). A folder is a problem if it cannot be listed
    or has no sound file.
    """
    files, problems, passed_over = dict[Path, None](), list[Unreadable](), dict[Path, None]()
    for path in paths:
        if not path.is_dir():
            files[path] = None
            continue
        found = sound_below(path)
        files |= dict.fromkeys(found.files)
        passed_over |= dict.fromkeys(found.passed_over)
        problems += [Unreadable(path=folder, reason=f"unreadable: {reason}") for folder, reason in found.shut]
        if not found.files and not found.shut:
            problems.append(Unreadable(path=path, reason=_without_sound(found), passed_over=tuple(found.passed_over)))
    return Listing(
        files=tuple(files),
        problems=tuple(problems),
        passed_over=tuple(path for path in passed_over if path not in files),
    )


def _without_sound(found: Found) -> str:
    others = f", only {_counted(found.passed_over)}" if found.passed_over else ""
    return f"no sound file in this folder (wav, flac, ogg, mp3, m4a, ...){others}"


def _counted(paths: Sequence[Path]) -> str:
    return f"{len(paths):,} other{'s' * (len(paths) != 1)} ({some(shown(path) for path in paths)})"


def predictions(model: Model, files: Sequence[Path]) -> Iterator[tuple[Path, Prediction | Unreadable]]:
    """Yield the prediction of every file, in order, or the reason why it cannot be used."""
    for path in files:
        try:
            yield path, model.predict_file(path)
        except InputError as error:
            yield path, Unreadable(path=path, reason=str(error).removeprefix(f"{path}: "))
        except (MemoryError, RuntimeError) as error:  # torch raises RuntimeError when out of memory
            fault = machine_fault(error)
            if fault is None:
                raise
            yield path, Unreadable(path=path, reason=fault)


@contextlib.contextmanager
def _progress(printer: Printer, files: int) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on the terminal of the results, else on standard error; none if it would break up CSV rows."""
    output = printer.output
    through_rows = printer.style == "csv" and output.results.is_terminal
    if files < 2 or through_rows:
        yield lambda done, total: None
        return
    console = output.results if output.results.is_terminal else output.progress
    with counting(console, "predicting", "files") as progress:
        yield progress
