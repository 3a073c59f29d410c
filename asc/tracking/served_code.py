"""Finds and copies the modules of asc that a served model imports, directly or indirectly.

Without the others a server loads a model faster, and there are fewer files to upload.
"""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import asc

_ROOT = Path(asc.__file__).parent
_START = "asc.tracking.served_model"


def needed_modules() -> list[str]:
    """The names of the modules, packages included, sorted."""
    seen: set[str] = set()
    waiting = [_START]
    while waiting:
        name = waiting.pop()
        if name and name not in seen and _source(name).is_file():
            seen.add(name)
            waiting += [name.rpartition(".")[0], *(() if _is_package(name) else _imported(name))]
    return sorted(seen)


def _is_package(name: str) -> bool:
    """Whether a name is a package's. Its imports are not followed: `asc.load` reads sound files, a server does not."""
    return _source(name).name == "__init__.py"


def copy_needed(folder: Path) -> None:
    """Copy the modules, and the C file of a module that has one, to a new folder, which serves as the package asc.

    Raises:
        OSError: the disk is full.
    """
    for name in needed_modules():
        source = _source(name)
        copied = folder / source.relative_to(_ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copied)
        if (in_c := source.with_suffix(".c")).is_file():
            shutil.copy(in_c, copied.with_suffix(".c"))


def _source(name: str) -> Path:
    path = _ROOT.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imported(name: str) -> Iterator[str]:
    """The modules of asc that a module imports, also within functions. May yield names that are not modules."""
    for node in ast.walk(ast.parse(_source(name).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "asc":
            yield from (str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "asc")
