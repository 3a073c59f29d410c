"""A table as plain text cells, which is printed in a terminal or written as Markdown."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Rows of cells under a title. The first column holds names, the others figures; `footer` stands apart, below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    footer: tuple[tuple[str, ...], ...] = ()


def as_table(sheet: Sheet) -> Table:
    """For the terminal. Cells are shown as they are, whatever rich would take for markup."""
    table = Table(title=Text(sheet.title, style="table.title"), title_justify="left")
    for number, name in enumerate(sheet.columns):
        table.add_column(Text(name), justify="right" if number else "left")
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    if sheet.footer:
        table.add_section()
    for row in sheet.footer:
        table.add_row(*map(Text, row))
    return table


def as_markdown(sheet: Sheet) -> str:
    """As a Markdown table under a heading of the second level; the footer's rows are bold."""
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
    """Without what Markdown would take for markup; it leaves an underscore within a word as it is."""
    return re.sub(r"[\\`*|<>\[\]]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
