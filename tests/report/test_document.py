"""One file that loads nothing, in which no name becomes HTML, and whose own script runs."""

import json
import shutil
import subprocess
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from patience import PATIENCE_S

from asc.report.document import Cell, Section, command_block, document, folded, listed, paragraph, table
from asc.report.plot import Figure

EVIL = "</script><script>alert(1)</script><img src=https://example.com/x onerror=alert(1)>\"'&"


class Elements(HTMLParser):
    """Collects the elements of a page with their attributes, and the texts of its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: dict[str, str] = {}
        self._script: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._script = (dict(attrs).get("id") or "own") if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        else:
            self.text.append(data)


def read(page: bytes) -> Elements:
    elements = Elements()
    elements.feed(page.decode())
    return elements


def page(name: str) -> bytes:
    figure = Figure(key=name, title=name, data=[{"name": name}], layout={})
    body = table([name], [[Cell(text=name, sort=name)]], sortable=True) + listed([name], "cautions") + paragraph(name)
    body += command_block(name) + folded(name, name)
    return document(
        name, "", [Section(key=name, title=name, body=body, figures=(figure,)), Section(key="x", title="x")]
    )


def test_a_name_never_becomes_an_element_or_an_attribute() -> None:
    evil, plain = read(page(EVIL)), read(page("plain"))
    assert [(tag, set(attributes)) for tag, attributes in evil.found] == [
        (tag, set(attributes)) for tag, attributes in plain.found
    ]
    assert evil.text.count(EVIL) == plain.text.count("plain") > 5, "it is shown as it is"
    assert list(json.loads(evil.scripts["figures"])) == [EVIL]


def test_the_page_loads_nothing() -> None:
    elements = read(page("plain"))
    loading = {"src", "srcset", "data", "action", "poster", "background", "formaction"}
    assert not [attributes for _, attributes in elements.found if loading & set(attributes)]
    assert all(str(attributes["href"]).startswith("#") for tag, attributes in elements.found if "href" in attributes)
    assert not [tag for tag, _ in elements.found if tag in ("link", "iframe", "object", "embed", "base")]
    style = page("plain").decode().partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style
    policy = next(a["content"] for _, a in elements.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'") and "http" not in policy


def test_empty_sections_are_left_out_and_a_page_without_figures_has_no_library() -> None:
    elements = read(page("plain"))
    assert [a["id"] for tag, a in elements.found if tag == "section"] == ["plain"]
    assert len(elements.scripts["library"]) > 1_000_000
    small = document("t", "", [Section(key="a", title="A", body=paragraph("b"))])
    assert len(small) < 20_000 and "A" in read(small).text


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_script_sorts_tables_and_unpacks_the_library(tmp_path: Path) -> None:
    """In node, with as much of a browser as the script needs."""
    (tmp_path / "page.js").write_text((resources.files("asc.report") / "page.js").read_text())
    (tmp_path / "library.txt").write_text(read(page("plain")).scripts["library"])
    (tmp_path / "figures.json").write_text(read(page("plain")).scripts["figures"])
    shutil.copy(Path(__file__).parents[1] / "support" / "page_in_node.js", tmp_path)
    ran = subprocess.run(
        ["node", "page_in_node.js"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert answer["ascending"] == ["-1", "2", "10", ""] and answer["descending"] == ["10", "2", "-1", ""]
    assert answer["sorted"] == "descending"
    assert answer["library"].startswith("/**\n* plotly.js v") and answer["drawn"] == ["plain"]
