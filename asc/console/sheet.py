"""A table of plain text cells, to print in a terminal or write as Markdown."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Rows of cells under a title. The first column holds names, the others figures; `footer` is set apart below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    footer: tuple[tuple[str, ...], ...] = ()


def as_table(sheet: Sheet) -> Table:
    """Return a table for the terminal; markup in cells is shown literally."""
    table = Table(title=Text(sheet.title, style="table.title"), title_justify="left")
    for number, name in enumerate(sheet.columns):
        table.add_column(Text(name), justify="right" if number else "left", overflow="ellipsis" if number else "fold")
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    if sheet.footer:
        table.add_section()
    for row in sheet.footer:
        table.add_row(*map(Text, row))
    return table


def as_markdown(sheet: Sheet) -> str:
    """Return a Markdown table under a second-level heading; the footer's rows are bold."""
    rule = ["---", *["---:"] * (len(sheet.columns) - 1)]
    rows = [list(row) for row in sheet.rows]
    footer = [[f"**{escaped(cell)}**" if cell else "" for cell in row] for row in sheet.footer]
    lines = [_line(map(escaped, sheet.columns)), _line(rule)]
    lines += [_line(map(escaped, row)) for row in rows]
    lines += [_line(row) for row in footer]
    return "\n".join([f"## {escaped(sheet.title)}", "", *lines, ""])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Escape what Markdown would read as markup, except underscores inside words, which it leaves alone."""
    return re.sub(r"[\\`*|<>\[\]]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
