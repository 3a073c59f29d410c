"""Finds the launch scripts, and says how to start one: in a checkout, or if asc was installed from a wheel.

A wheel has `launch/` and `search_spaces/` inside the package, and the command `asc` that starts them
(`asc.console.command`).
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent / "launch"
NAMES = ("search", "train", "evaluate", "calibrate", "predict", "export", "size", "data", "track", "runs", "report")


def script(name: str) -> Path:
    """Return the file of the launch script of this name, one of `NAMES`."""
    folder = _CHECKOUT if _in_checkout() else _PACKAGE / "launch"
    return folder / f"{name}.py"


def command(name: str) -> str:
    """Return what a user types to start the script of this name: `python launch/search.py`, or `asc search`."""
    return f"python launch/{name}.py" if _in_checkout() else f"asc {name}"


def search_spaces() -> Path:
    """Return the folder of the shipped search spaces."""
    return (_PACKAGE.parent if _in_checkout() else _PACKAGE) / "search_spaces"


def _in_checkout() -> bool:
    return (_CHECKOUT / "search.py").is_file()
