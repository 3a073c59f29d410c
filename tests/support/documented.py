"""Run the examples of a page of docs/, or the cells of a notebook, in the working folder of this process.

    python documented.py PAGE.md
    python documented.py NOTEBOOK.ipynb

What fails is printed, and makes the exit code 1. A fresh process runs it, because Ray reads its environment on import.
"""

import ast
import doctest
import json
import sys
from pathlib import Path
from typing import Any

import forks


def main(path: Path) -> int:
    """Run a page or a notebook; return the exit code."""
    forks.stand_in()
    if path.suffix == ".ipynb":
        run_cells(path)
        return 0
    flags = doctest.ELLIPSIS
    failed, tried = doctest.testfile(str(path), module_relative=False, optionflags=flags, encoding="utf-8")
    return 1 if failed or not tried else 0


def run_cells(path: Path) -> None:
    """Run the code cells of a notebook in one namespace; the value at the end of a cell is shown as a notebook does."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(path.read_text("utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, f"cell {number}", "exec"), namespace)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), namespace)
                shown = getattr(value, "_repr_html_", lambda value=value: repr(value))()
                assert isinstance(shown, str | None)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
