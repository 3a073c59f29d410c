"""One HTML document that opens offline: style, script, figures and Plotly's library are inside, and nothing is loaded.

Its content security policy forbids every request, so the page cannot load anything even if a name slipped through the
escaping. Plotly builds functions from strings for parallel coordinates, which needs 'unsafe-eval'.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from asc.report.library import packed_library
from asc.report.plot import Figure

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data:"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a table: its text, and the value by which it is sorted (None: last)."""

    text: str
    sort: float | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page: `body` is HTML, in which all names are escaped; the figures follow it."""

    key: str
    title: str
    body: str = ""
    figures: tuple[Figure, ...] = ()


def document(title: str, lead: str, sections: Sequence[Section]) -> bytes:
    """The page as UTF-8; `lead` is HTML under the title. Sections that hold nothing are left out."""
    shown = [section for section in sections if section.body or section.figures]
    figures = {figure.key: figure.tree() for section in shown for figure in section.figures}
    links = "".join(f'<a href="#{escape(section.key)}">{escape(section.title)}</a>' for section in shown)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_asset('page.css')}</style></head><body>",
        f"<header><h1>{escape(title)}</h1>{lead}<nav>{links}</nav></header><main>",
        *map(_section, shown),
        '<noscript><p class="note">The figures need JavaScript.</p></noscript></main>',
        f'<script type="application/json" id="figures">{_embedded(figures)}</script>',
        f'<script type="application/octet-stream" id="library">{packed_library() if figures else ""}</script>',
        f"<script>{_asset('page.js')}</script></body></html>\n",
    ]
    return "\n".join(parts).encode("utf-8", "backslashreplace")


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, sortable: bool = False) -> str:
    """A table as HTML; the first cell of a row is its head."""
    head = "".join(f'<th scope="col">{_button(name) if sortable else escape(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    kind = ' class="sortable"' if sortable else ""
    return f'<div class="wide"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def words(texts: Iterable[object]) -> list[Cell]:
    """Cells of plain texts."""
    return [Cell(text=str(text)) for text in texts]


def listed(sentences: Iterable[str], kind: str = "") -> str:
    """Sentences as a list; empty if there are none."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="{escape(kind)}">{items}</ul>' if items else ""


def command_block(line: str) -> str:
    """A command line that a click selects."""
    return f"<pre>{escape(line)}</pre>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def folded(title: str, text: str) -> str:
    """A text that is shown when its title is clicked."""
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def _section(section: Section) -> str:
    places = "".join(map(_place, section.figures))
    grid = f'<div class="grid">{places}</div>' if places else ""
    return f'<section id="{escape(section.key)}"><h2>{escape(section.title)}</h2>{section.body}{grid}</section>'


def _place(figure: Figure) -> str:
    """The empty place of a figure, of its later height, so that nothing moves when it is drawn."""
    wide = ' class="whole"' if figure.least_width_px else ""
    width = f"min-width:{figure.least_width_px}px;" if figure.least_width_px else ""
    place = f'<div class="figure" data-figure="{escape(figure.key)}" style="{width}height:{figure.height_px}px"></div>'
    return f"<figure{wide}><figcaption>{escape(figure.title)}</figcaption>{place}</figure>"


def _button(name: str) -> str:
    return f'<button type="button">{escape(name)}</button>'


def _cell(cell: Cell) -> str:
    sort = "" if cell.sort is None else f' data-sort="{escape(str(cell.sort))}"'
    number = ' class="number"' if isinstance(cell.sort, int | float) else ""
    return f"<td{number}{sort}>{escape(cell.text)}</td>"


def _embedded(tree: object) -> str:
    """JSON that cannot end the script element that holds it."""
    text = json.dumps(tree, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _asset(name: str) -> str:
    return (resources.files("asc.report") / name).read_text("utf-8")
