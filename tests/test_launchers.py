"""Where the launch scripts are, and the command to type for each."""

from pathlib import Path

import pytest

from asc import launchers

ROOT = Path(__file__).resolve().parents[1]


def test_names_and_scripts_of_a_checkout_match() -> None:
    assert {path.stem for path in (ROOT / "launch").glob("*.py")} == set(launchers.NAMES)
    assert all(launchers.script(name) == ROOT / "launch" / f"{name}.py" for name in launchers.NAMES)
    assert launchers.command("search") == "python launch/search.py"
    assert launchers.search_spaces() == ROOT / "search_spaces"


def test_without_a_checkout_they_are_in_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(launchers, "_CHECKOUT", tmp_path / "launch")
    assert launchers.script("size") == ROOT / "asc" / "launch" / "size.py"
    assert launchers.command("data") == "asc data"
    assert launchers.search_spaces() == ROOT / "asc" / "search_spaces"
