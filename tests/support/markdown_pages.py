"""Reads the project's Markdown pages: their headings, their local links, and the commands that they give."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`]+)`")
_SCRIPT = re.compile(r"(?:.*/)?(launch|tests/benchmarks)/(\w+)\.py")
_END = re.compile(r"[|&;<>()]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A script of `folder` (launch or tests/benchmarks), by name, and its arguments; `text` is what the page says."""

    folder: str
    name: str
    words: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: its prose, as it stands, and the lines of its code blocks, with continued lines joined."""

    prose: str
    code: tuple[str, ...]


def read_page(path: Path) -> Page:
    """Read a page. A code block is fenced, or indented by four spaces or more after an empty line."""
    prose: list[str] = []
    code: list[str] = []
    fenced = in_code = False
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
            continue
        blank = not prose or not prose[-1].strip()
        in_code = fenced or (line.startswith("    ") and (in_code or blank)) or (in_code and not line.strip())
        (code if in_code else prose).append(line)
        if in_code:
            prose.append("")
    return Page(prose="\n".join(prose), code=tuple(_joined(code)))


def _joined(lines: list[str]) -> Iterator[str]:
    """Join lines that end in a backslash, and lines of options, as YAML folds them, to what they continue."""
    whole = ""
    for line in lines:
        if whole and (whole.endswith("\\") or line.strip().startswith("--")):
            whole = f"{whole.removesuffix(chr(92)).rstrip()} {line.strip()}"
        else:
            yield whole
            whole = line.strip()
    yield whole


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    seen: Counter[str] = Counter()
    found = set()
    for line in read_page(path).prose.splitlines():
        if heading := _HEADING.match(line):
            text = _LINK.sub(lambda link: link[0][1 : link[0].index("]")], heading[1]).replace("`", "")
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.add(name if seen[name] == 0 else f"{name}-{seen[name]}")
            seen[name] += 1
    return found


def local_links(path: Path) -> list[str]:
    """The targets of a page's links and pictures that are not addresses, such as data.md#groups."""
    targets = _LINK.findall(_SPAN.sub("", read_page(path).prose))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def commands(path: Path) -> list[Command]:
    """The commands of a page that start a script of the project, in code blocks and in spans of code.

    A span counts if it starts with `python launch/`, `asc NAME` or `launch/NAME.py` and has arguments.
    """
    page = read_page(path)
    spans = [" ".join(span.split()) for span in _SPAN.findall(page.prose)]
    spans = [span for span in spans if re.match(r"python |asc |launch/\w+\.py ", span)]
    return [command for text in (*page.code, *spans) for command in _commands_in(text)]


def _commands_in(text: str) -> Iterator[Command]:
    if not re.search(r"\b(launch|tests/benchmarks)/\w+\.py|\basc [a-z]", text):
        return
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    for i, word in enumerate(words):
        before = words[i - 1] if i else ""
        script = _SCRIPT.fullmatch(word)
        starts = i == 0 or before == "--" or _END.fullmatch(before)
        if script and (starts or before == "python"):
            yield Command(folder=script[1], name=script[2], words=_arguments(words[i + 1 :]), text=text)
        elif word == "asc" and starts and i + 1 < len(words):
            yield Command(folder="launch", name=words[i + 1], words=_arguments(words[i + 2 :]), text=text)


def _arguments(words: list[str]) -> tuple[str, ...]:
    """The arguments of a command up to a pipe or its like; a number stands for a placeholder of one letter."""
    found: list[str] = []
    for word in words:
        if _END.fullmatch(word):
            break
        if word != "...":
            found.append("1" if re.fullmatch(r"[A-Z]", word) else word)
    return tuple(found)
