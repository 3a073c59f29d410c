"""One table as text, for the terminal and as Markdown."""

import io

import pytest
from rich.console import Console

from asc.console.sheet import Sheet, as_markdown, as_table

SHEET = Sheet(
    title="Per class",
    columns=("class", "log loss"),
    rows=(("metro_station", "1.999"), ("a|b", "[bold]")),
    footer=(("average", ""),),
)


def test_markdown_has_equally_many_cells_per_line_and_a_bold_footer() -> None:
    assert as_markdown(SHEET).splitlines() == [
        "## Per class",
        "",
        "| class | log loss |",
        "| --- | ---: |",
        "| metro_station | 1.999 |",
        "| a\\|b | \\[bold\\] |",
        "| **average** |  |",
    ]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("a_b_c", "a_b_c"), ("_a_", "\\_a\\_"), ("*x*", "\\*x\\*"), ("`\\`", "\\`\\\\\\`"), ("<b>", "\\<b\\>")],
)
def test_markdown_markup_in_cells_is_escaped(text: str, escaped: str) -> None:
    sheet = Sheet(title="t", columns=("c",), rows=((text,),))
    assert as_markdown(sheet).splitlines()[-1] == f"| {escaped} |"


def test_the_terminal_shows_cells_as_they_are() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(as_table(SHEET))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(part in text for part in ("Per class", "a|b", "[bold]", "metro_station", "average"))
