"""README, CONTRIBUTING and docs/: links, anchors and pictures exist, commands parse, and MkDocs builds the pages."""

import logging
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from markdown_pages import Command, anchors, commands, local_links

from asc.config.architecture import Family
from asc.config.augment import Augment
from asc.config.recipes.loading import recipe_names
from asc.console import cli
from asc.launchers import NAMES, script
from asc.size.rules import RULES

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
SPACES = sorted(path.stem for path in (ROOT / "search_spaces").glob("*.toml"))
OF_THE_REPORT = ("crop_s", "speed_factors", "mixup_alpha")
AUGMENTATIONS = [f"augment.{key}" for key in Augment.__dataclass_fields__ if key not in OF_THE_REPORT]
MOST_LINES = 250

page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
built = pytest.mark.skipif(find_spec("material") is None, reason='needs MkDocs Material: pip install -e ".[dev]"')


@pytest.fixture
def launched() -> Iterator[None]:
    """Restore what `cli.launch` sets for a whole process: the handler of SIGTERM, and that of asc's warnings."""
    logger = logging.getLogger("asc")
    terminations, handlers = signal.getsignal(signal.SIGTERM), list(logger.handlers)
    yield
    signal.signal(signal.SIGTERM, terminations)
    logger.handlers[:] = handlers


def options_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The type of a launch script's options: its own `Options`, or what its `main` takes."""
    spec = spec_from_file_location(f"launch_{name}", script(name))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return getattr(module, "Options", None) or get_type_hints(module.main)["options"]


def parses(command: Command, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the script's own parser takes the arguments; the script does not run."""
    parsed: list[object] = []

    def main(options: object) -> int:
        parsed.append(options)
        return cli.DONE

    monkeypatch.setattr(sys, "argv", [command.name, *command.words])
    with pytest.raises(SystemExit) as end:
        cli.launch(main, options_of(command.name, monkeypatch))
    return end.value.code == cli.DONE and len(parsed) == 1


@page
def test_every_local_link_anchor_and_picture_exists(page: Path) -> None:
    for link in local_links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), f"{page.name} links to {link}, which does not exist"
        assert not anchor or anchor in anchors(target), (
            f"{page.name} links to {link}: {target.name} has no such heading"
        )


@pytest.mark.usefixtures("launched")
@page
def test_every_command_parses(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in {command for command in commands(page) if command.folder == "launch"}:
        assert command.name in NAMES, f"{page.name} has `{command.text}`, but there is no such script"
        if command.words:
            assert parses(command, monkeypatch), f"{page.name} has `{command.text}`, which {command.name}.py refuses"


@pytest.mark.usefixtures("launched")
@pytest.mark.parametrize(
    "line",
    [
        "python launch/search.py --budget 128",
        "python launch/train.py --fold first",
        "python launch/export.py MODEL --to tflite",
        "arecord -t raw | asc predict",
        "ray job submit -- python launch/evaluate.py MODEL --split all",
    ],
)
def test_a_command_that_a_script_refuses_is_found(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text(f"# Title\n\n    {line}\n")
    (command,) = commands(tmp_path / "page.md")
    assert not parses(command, monkeypatch)


@page
def test_recipes_spaces_and_benchmarks_in_commands_exist(page: Path) -> None:
    for command in commands(page):
        if command.folder == "tests/benchmarks":
            source = ROOT / command.folder / f"{command.name}.py"
            assert source.is_file(), f"{page.name} has `{command.text}`, but there is no such script"
            options = [word for word in command.words if word.startswith("--")]
            assert all(f'"{word}"' in source.read_text("utf-8") for word in options), command.text
        given = dict(zip(command.words, command.words[1:], strict=False))
        for option, names in (("--recipe", recipe_names()), ("--space", SPACES)):
            assert given.get(option, names[0]) in names, f"{page.name} has `{command.text}`: no such {option[2:]}"


def test_commands_are_found_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(
        "# Title\n\nRun `asc size --recipe\nqat_8b` or `launch/train.py --fold K`, not `launch/size.py`.\n\n"
        "    curl URL | python launch/predict.py MODEL --follow > labels   # a comment's end\n"
        "    ray job submit -- python launch/search.py --trials 3 \\\n        --seed 1 ...\n\nAfter.\n\n"
        "    python tests/benchmarks/soak.py --faults 3\n"
    )
    found = [(command.folder, command.name, command.words) for command in commands(tmp_path / "page.md")]
    assert found == [
        ("launch", "predict", ("MODEL", "--follow")),
        ("launch", "search", ("--trials", "3", "--seed", "1")),
        ("tests/benchmarks", "soak", ("--faults", "3")),
        ("launch", "size", ("--recipe", "qat_8b")),
        ("launch", "train", ("--fold", "1")),
    ]


def test_the_readme_is_short_and_shows_every_main_command() -> None:
    readme = ROOT / "README.md"
    assert len(readme.read_text("utf-8").splitlines()) <= MOST_LINES
    assert {"data", "search", "train", "evaluate", "predict", "export"} <= {each.name for each in commands(readme)}


def test_every_page_is_in_the_index() -> None:
    linked = {link.partition("#")[0] for link in local_links(ROOT / "docs" / "index.md")}
    assert {path.name for path in DOCS} - {"index.md"} == linked


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("search.md", SPACES),
        ("families.md", get_args(Family)),
        ("families.md", recipe_names()),
        ("size.md", [rule.name for rule in RULES]),
        ("devices.md", AUGMENTATIONS),
    ],
)
def test_what_comes_with_asc_has_a_row_on_its_page(page: str, names: list[str]) -> None:
    rows = [row for row in (ROOT / "docs" / page).read_text("utf-8").splitlines() if row.startswith("|")]
    missing = [name for name in names if not any(f"`{name}`" in row for row in rows)]
    assert not missing, f"docs/{page} has no row for {', '.join(missing)}"


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--config-file",
        str(root / ".mkdocs.yml"),
        "--site-dir",
        str(site),
    ]
    return subprocess.run(command, capture_output=True, text=True)


@built
def test_mkdocs_builds_the_pages_without_a_warning(tmp_path: Path) -> None:
    ended = build(ROOT, tmp_path / "site")
    assert ended.returncode == 0, ended.stderr
    assert {path.stem for path in (tmp_path / "site").glob("*.html")} - {"404"} == {path.stem for path in DOCS}


@built
def test_mkdocs_refuses_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / ".mkdocs.yml", tmp_path)
    with (tmp_path / "docs" / "data.md").open("a") as data:
        data.write("\n[nowhere](size.md#nowhere)\n")
    ended = build(tmp_path, tmp_path / "site")
    assert ended.returncode != 0 and re.search(r"size\.md#nowhere", ended.stderr), ended.stderr
