r"""`--group-from REGEX`: read the source of a recording from its file name; warn if names seem to contain one.

Without groups every file is its own group, so excerpts of one recording may end up in different splits. In ESC-10 as
class folders, for example, `dog/1-17808-A.ogg` and `dog/1-17808-B.ogg` were cut from one recording, Freesound 17808
(Piczak 2015, https://github.com/karolpiczak/ESC-50); `--group-from '/(\d+-\d+)-'` keeps them together.
"""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from asc.data.rows import Row
from asc.errors import InputError, some
from asc.results import Split

# Where a name can be cut: at punctuation, and between a digit and a final letter, as in `street1a`.
_CUT = re.compile(r"[\W_]+|(?<=\d)(?=[^\W\d_](?:[\W_]|$))")


def grouped(rows: Sequence[Row], pattern: str, *, source: str) -> tuple[Row, ...]:
    """Assign to each row the group that `pattern` finds in its path (first match). `source` names the set in errors.

    The group's name is the text matched by the parentheses of the pattern. The texts of several parentheses are joined
    with "-"; those that did not match are left out.

    Raises:
        InputError: the pattern is not a regular expression, has no parentheses or does not match every path, or the set
            already has groups.
    """
    compiled = _compiled(pattern)
    if _have_groups(rows):
        raise InputError(f"{source} already has groups: leave --group-from {pattern} out")
    matches = [compiled.search(row.path) for row in rows]
    groups = ["-".join(filter(None, match.groups())) if match else "" for match in matches]
    missed = [row.path for row, group in zip(rows, groups, strict=True) if not group]
    if missed:
        raise InputError(
            f"--group-from {pattern} finds no group in {len(missed):,} of the {len(rows):,} file names of {source}: "
            f"give a pattern that fits all of them ({some(missed)})"
        )
    return tuple(replace(row, group=group) for row, group in zip(rows, groups, strict=True))


def shared_stems(rows: Sequence[Row], splits: Sequence[Split], *, source: str) -> tuple[str, ...]:
    """Warn if the set has no groups, and files of one class whose names share a stem are in different splits.

    A stem is the longest beginning, up to a punctuation mark, that some but not all names of a class share: for example
    `1-17808` for `1-17808-A` and `1-17808-B`. Returns no line or one.
    """
    if _have_groups(rows):
        return ()
    stems = _stems(rows)
    if not stems:
        return ()
    files = sum(len(stem.numbers) for stem in stems)
    apart = sum(len({splits[number] for number in stem.numbers}) > 1 for stem in stems)
    if apart == 0:
        return ()
    examples = ", ".join(rows[number].path for number in stems[0].numbers[:2])
    found = _suggestion(rows, stems)
    proposed = "REGEX" if found is None else shlex.quote(found)
    return (
        f"{files:,} files of {source} begin like another file of their class ({examples}). If such files were cut from "
        f"one recording, keep them in one split with --group-from {proposed}: now {apart:,} of the "
        f"{len(stems):,} beginnings are in more than one split, so figures would be too good",
    )


def proposed_pattern(rows: Sequence[Row]) -> str | None:
    """The pattern that the warning of `shared_stems` proposes; None if no pattern fits every name."""
    stems = [] if _have_groups(rows) else _stems(rows)
    return _suggestion(rows, stems) if stems else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stem:
    """A shared beginning of names of a class; `after` is the character that follows it in the first of them."""

    text: str
    after: str
    numbers: tuple[int, ...]


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"--group-from {pattern} is not a regular expression ({error}): correct it") from error
    if compiled.groups == 0:
        raise InputError(
            f"--group-from {pattern} has no parentheses: put them around the part of a file name that says which "
            r"recording it is from, as in '/(\d+-\d+)-'"
        )
    return compiled


def _have_groups(rows: Sequence[Row]) -> bool:
    return any(row.group != row.path for row in rows)


def _stems(rows: Sequence[Row]) -> list[_Stem]:
    """Find the stems of all classes, using the largest number of tokens at which any names share one."""
    cuts = [[cut.start() for cut in _CUT.finditer(_name(row)) if cut.start() > 0] for row in rows]
    in_class = Counter(row.label for row in rows)
    for tokens in range(max(map(len, cuts), default=0), 0, -1):
        sharing: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, (row, places) in enumerate(zip(rows, cuts, strict=True)):
            if len(places) >= tokens:
                sharing[row.label, _name(row)[: places[tokens - 1]]].append(number)
        stems = [
            _Stem(text=text, after=_name(rows[members[0]])[len(text)], numbers=tuple(members))
            for (label, text), members in sharing.items()
            if 1 < len(members) < in_class[label]
        ]
        if stems:
            return stems
    return []


def _name(row: Row) -> str:
    """The path without its suffix, and without its first folder if that is the class."""
    return row.path.rpartition(".")[0].removeprefix(f"{row.label}/")


def _suggestion(rows: Sequence[Row], stems: Sequence[_Stem]) -> str | None:
    """A pattern derived from the first stem, if it fits the whole set."""
    first = stems[0]
    start = "/" if rows[first.numbers[0]].path.startswith(f"{rows[first.numbers[0]].label}/") else "^"
    pattern = f"{start}({_like(first.text)}){_like(first.after)}"
    try:
        found = grouped(rows, pattern, source="")
    except InputError:
        return None
    kept = all(len({found[number].group for number in stem.numbers}) == 1 for stem in stems)
    return pattern if kept else None


def _like(text: str) -> str:
    r"""A regular expression that matches texts of the same form: `\d+-[A-Za-z]+` for `12-ab`."""
    runs = re.findall(r"\d+|[A-Za-z]+|.", text, re.DOTALL)
    return "".join(
        r"\d+" if run.isdigit() else "[A-Za-z]+" if run.isalpha() else run if run in "-_/ " else re.escape(run)
        for run in runs
    )
