"""Read a delimited text file with a header, for the data set readers."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from asc.errors import InputError


def read_table(file: Path, *, delimiter: str = ",") -> list[tuple[int, dict[str, str]]]:
    """Read a file with a header as a list of (line number, cells by column name).

    Raises:
        InputError: the file is missing, unreadable, not UTF-8, malformed, or has no rows.
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist or is not a file: give the path of a CSV file")
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, skipinitialspace=True, strict=True, delimiter=delimiter)
            table = [(reader.line_num, cells) for cells in reader]
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except csv.Error as error:
        raise InputError(f"{file} is not a well-formed CSV file: {error}") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    if not table:
        raise InputError(f"{file} has no rows: it needs a header with filename and label, then one line per clip")
    return table


def check_columns(file: Path, columns: Iterable[str | None], needed: Sequence[str]) -> None:
    """Check that a table has the needed columns.

    Raises:
        InputError: one is missing; the message lists the columns of the file.
    """
    there = [str(name) for name in columns if name is not None]
    missing = [name for name in needed if name not in there]
    if missing:
        raise InputError(f"{file} has no column {' and no column '.join(missing)}: its columns are {', '.join(there)}")
