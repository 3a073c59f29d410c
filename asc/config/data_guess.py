"""Guesses what kind of data set a folder or a file is, for a `--data` that names its place alone."""

import csv
from pathlib import Path

from asc.errors import InputError

_KINDS = ("synthetic", "esc10", "csv", "folder", "tau2020", "tau2022", "tau2025")
_COLUMNS = {"filename", "label"}


def guessed(spec: str) -> str:
    """The data as `KIND:PLACE`; what names a kind, and what does not exist, is returned as it is.

    Raises:
        InputError: the place exists, but looks like no kind of data set; the message names the kinds.
    """
    path = Path(spec).expanduser()
    if spec.partition(":")[0] in _KINDS or not path.exists():
        return spec
    kind = _of_folder(path) if path.is_dir() else _of_file(path)
    if kind is not None:
        return kind
    raise InputError(
        f"--data {spec} looks like no data set: it is neither a folder with a folder of recordings for each class, "
        "nor a CSV with the columns filename and label; write folder:DIR, csv:FILE, esc10:DIR, tau2020:DIR, "
        "tau2022:DIR or tau2025:DIR"
    )


def check_place(spec: str) -> None:
    """Check that the folder or file of a data set exists, without reading it.

    Raises:
        InputError: it does not.
    """
    kind, _, place = spec.partition(":")
    path = Path(place).expanduser()
    if not place or kind not in _KINDS[1:]:
        return
    if kind == "csv" and not path.is_file():
        raise InputError(f"{path} does not exist or is not a file: give the path of a CSV file")
    if kind != "csv" and not path.is_dir():
        raise InputError(f"{path} does not exist or is not a folder: give the folder of the data set")


def note(spec: str | None) -> list[str]:
    """One line that says what a `--data` is taken for, if it was guessed.

    Raises:
        InputError: as `guessed`.
    """
    if spec is None or guessed(spec) == spec:
        return []
    return [f"--data {spec} is taken as {guessed(spec)}: write that, or another kind, if it is not"]


def _of_folder(folder: Path) -> str | None:
    names = [folder.name, *(each.name for each in _folders(folder))]
    for kind, words in (("tau2020", "2020-mobile"), ("tau2022", "2022-mobile")):
        if any(f"urban-acoustic-scenes-{words}" in name for name in names):
            return f"{kind}:{folder}"
    columns = _header(folder / "meta.csv")
    if {"filename", "label", "source_id"} <= columns:
        return f"esc10:{folder}"
    if _COLUMNS <= columns:
        return f"csv:{folder / 'meta.csv'}"
    return f"folder:{folder}" if len(_folders(folder)) > 1 else None


def _of_file(file: Path) -> str | None:
    return f"csv:{file}" if _COLUMNS <= _header(file) else None


def _folders(folder: Path) -> list[Path]:
    return [each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith(".")]


def _header(file: Path) -> set[str]:
    """The columns of a CSV file; none if it is no text or cannot be read."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return set(next(csv.reader(lines), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()
