"""Readers of data sets: CSV files, ESC-10 (Piczak 2015, https://github.com/karolpiczak/ESC-50), class folders.

A CSV has the columns filename (relative to the CSV's folder) and label; optionally device, group, and split or fold.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from asc.data.rows import UNKNOWN_DEVICE, Row
from asc.data.sound_folder import sound_below
from asc.data.table import check_columns, read_table
from asc.errors import InputError, some
from asc.results import SPLITS, Split


def read_csv(file: Path, *, group_column: str = "group") -> tuple[Row, ...]:
    """Read the rows of a CSV file in order. Without a group column every clip is its own group.

    Raises:
        InputError: the file is missing or unreadable, lacks a column, has an empty or surplus cell, an unknown split or
            fold, lists a file twice, or lists files that do not exist.
    """
    table = read_table(file)
    columns = table[0][1].keys()
    check_columns(file, columns, ("filename", "label", *([group_column] if group_column != "group" else [])))
    if "split" in columns and "fold" in columns:
        raise InputError(f"{file} has both a split and a fold column: keep one of them")
    rows = tuple(_row(file, line, cells, group_column) for line, cells in table)
    twice = [name for name, count in Counter(row.path for row in rows).items() if count > 1]
    if twice:
        raise InputError(f"{file} lists {len(twice)} file(s) more than once, keep one row of each: {', '.join(twice)}")
    absent = [row.path for row in rows if not (file.parent / row.path).is_file()]
    if absent:
        raise InputError(
            f"{file} lists {len(absent)} file(s) that do not exist below {file.parent}, "
            f"add them or drop their rows: {', '.join(absent)}"
        )
    return rows


def read_esc10(folder: Path) -> tuple[Row, ...]:
    """Read ESC-10 from FOLDER/meta.csv (filename,label,fold,source_id). A group is a Freesound source.

    Raises:
        InputError: as `read_csv`.
    """
    _check_folder(folder)
    return read_csv(folder / "meta.csv", group_column="source_id")


def read_folder(folder: Path) -> tuple[Row, ...]:
    """Read a folder with one folder per class. Every clip is its own group.

    Hidden files are skipped, and folders without audio (`side_folders`).

    Raises:
        InputError: the folder is missing or has fewer than two class folders with audio, or a class folder cannot be
            listed, or has a name that is not UTF-8.
    """
    _check_folder(folder)
    classes = _class_folders(folder)
    if len(classes) < 2:
        raise InputError(
            f"{folder} has {len(classes)} class folder(s), but at least 2 are needed: one folder per class"
        )
    there = {each: sound_below(each) for each in classes}
    shut = [f"{path} ({reason})" for found in there.values() for path, reason in found.shut]
    if shut:
        raise InputError(f"{folder} has folders that cannot be listed, fix their permissions: {', '.join(shut)}")
    classes = [each for each in classes if there[each].files]
    if len(classes) < 2:
        empty = [_without_sound(each, found.passed_over) for each, found in there.items() if not found.files]
        raise InputError(
            f"{folder} has {len(classes)} class folder(s) with audio, but at least 2 are needed; without audio are: "
            f"{', '.join(empty)}"
        )
    odd = [each.name for each in classes if not _is_text(each.name)]
    if odd:
        raise InputError(f"{folder} has class folders whose names are not UTF-8, rename them: {', '.join(odd)}")
    paths = ((each.name, path.relative_to(folder).as_posix()) for each in classes for path in there[each].files)
    return tuple(Row(path=path, label=label, device=UNKNOWN_DEVICE, group=path) for label, path in paths)


def passed_over(folder: Path) -> tuple[str, ...]:
    """List the files that `read_folder` skips: other file types, and files outside the class folders."""
    found, classes = sound_below(folder), {each.name for each in _class_folders(folder)}
    stray = [path for path in found.files if path.relative_to(folder).parts[0] not in classes or path.parent == folder]
    return tuple(path.relative_to(folder).as_posix() for path in sorted([*found.passed_over, *stray]))


def side_folders(folder: Path) -> tuple[str, ...]:
    """The folders that `read_folder` takes for no class because they have no audio, with what they hold."""
    found = ((each, sound_below(each)) for each in _class_folders(folder))
    return tuple(_without_sound(each, inside.passed_over) for each, inside in found if not inside.files)


def _class_folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _without_sound(folder: Path, others: Sequence[Path]) -> str:
    return f"{folder.name} (only {some(path.name for path in others)})" if others else folder.name


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _row(file: Path, line: int, cells: dict[str, str], group_column: str) -> Row:
    if None in cells:
        raise InputError(f"{file}, line {line} has more cells than the header: quote cells that hold a comma")
    used = ("filename", "label", "device", group_column, "split", "fold")
    for name in used:
        if name in cells and not (cells[name] or "").strip():
            raise InputError(f"{file}, line {line} has no {name}: fill the cell")
    values = {name: cells[name].strip() for name in used if name in cells}
    return Row(
        path=values["filename"],
        label=values["label"],
        device=values.get("device", UNKNOWN_DEVICE),
        group=values.get(group_column, values["filename"]),
        given=_split(file, line, values["split"]) if "split" in values else None,
        fold=_fold(file, line, values["fold"]) if "fold" in values else None,
    )


def _split(file: Path, line: int, text: str) -> Split:
    if text not in SPLITS:
        raise InputError(f"{file}, line {line} has split {text}: write one of {', '.join(SPLITS)}")
    return text


def _fold(file: Path, line: int, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{file}, line {line} has fold {text}: write a whole number") from error


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist or is not a folder: give the folder of the data set")
